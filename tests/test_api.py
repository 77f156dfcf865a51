"""What `from explorer import …` gives, on real models and as it behaves where there is no terminal."""

from __future__ import annotations

import copy
import io
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import pytest

import explorer
from explorer import Grouping, Model, ParamxError, Rule, load_grouping, param_groups, save_grouping, summary
from explorer.core.export.writing import export
from explorer.core.groups import Grouper
from explorer.core.wrapped import unwrapped

torch = pytest.importorskip("torch")
nn = torch.nn
ROOT = Path(__file__).parents[1]

GROUPINGS = {
    "classic": Grouping.classic(),
    "types": Grouping.classic(("bias", "type:*Norm", "!ndim>=2")),
    "three, with rates": Grouping(
        (
            Rule("low", (r"re:layers?\.[01]\.",), {"weight_decay": 0.2, "lr": 1e-3, "lr_mult": 0.5}),
            Rule("flat", ("ndim<2",), {"weight_decay": 0.0, "lr_mult": 2, "betas": (0.9, 0.98)}),
            Rule("nothing", ("nowhere",), {"weight_decay": 0.7}),
            Rule("rest", (), {"weight_decay": 0.1}),
        )
    ),
    "frozen group": Grouping((Rule("ice", ("embed",), {"freeze": True}), *Grouping.classic(("bias", "norm")).rules)),
    "blank term": Grouping.classic(("bias", "")),
}


@pytest.fixture(scope="module")
def roberta():
    """A RoBERTa with a tied head and a frozen first layer."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    sizes = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    module = RobertaForMaskedLM(RobertaConfig(vocab_size=50, max_position_embeddings=20, **sizes))
    for parameter in module.roberta.encoder.layer[0].parameters():
        parameter.requires_grad_(False)
    return module


@pytest.fixture(scope="module")
def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 8, "num_hidden_layers": 3, "num_attention_heads": 2, "intermediate_size": 16}
    return LlamaForCausalLM(LlamaConfig(vocab_size=50, num_key_value_heads=1, tie_word_embeddings=True, **sizes))


@pytest.fixture(params=["roberta", "llama"])
def module(request):
    """A fresh copy: groups may freeze parameters."""
    return copy.deepcopy(request.getfixturevalue(request.param))


def named(groups, module):
    """The names of each group's parameters, from their identity."""
    name_of = {id(parameter): name for name, parameter in module.named_parameters()}
    return [[name_of[id(parameter)] for parameter in group["params"]] for group in groups]


def of_screen(module, grouping):
    """What the interface shows of a module, frozen parameters left out."""
    table = summary(module).model
    assignment = Grouper(table).assign(grouping)
    shown = {}
    for code, rule in enumerate(grouping.rules):
        own = [table.names[index] for index in assignment.members(code) if table.requires_grad[index]]
        if own and not rule.options.get("freeze"):
            shown[rule.name] = own
    return shown


# --- groups


@pytest.mark.parametrize("name", GROUPINGS)
def test_groups_are_split_as_the_screen_shows_and_as_the_exported_code_does(name, module):
    grouping = GROUPINGS[name]
    shown = of_screen(module, grouping)
    exported = copy.deepcopy(module)
    space = {}
    exec(export("torch-groups", summary(exported).model, grouping), space)
    theirs = space["param_groups"](exported, lr=1e-4)
    ours = param_groups(module, grouping, lr=1e-4)
    assert [group["name"] for group in ours] == list(shown) == list(theirs)
    assert named(ours, module) == list(shown.values()) == named(theirs.values(), exported)
    for group, other in zip(ours, theirs.values(), strict=True):
        options = {key: value for key, value in group.items() if key not in ("params", "name")}
        assert options == {"lr": 1e-4, **{key: value for key, value in other.items() if key != "params"}}


@pytest.mark.parametrize("name", GROUPINGS)
def test_torch_takes_the_groups_and_steps(name, module):
    optimizer = torch.optim.AdamW(param_groups(module, GROUPINGS[name], lr=1e-4), lr=1e-4)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    listed = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert len(set(listed)) == len(listed), "a tied tensor is in one group, once"
    assert {id(p) for p in module.parameters() if p.requires_grad} == set(listed)


def test_a_frozen_parameter_and_an_empty_group_are_left_out(roberta):
    groups = param_groups(roberta, GROUPINGS["three, with rates"], lr=1e-4)
    assert [group["name"] for group in groups] == ["low", "flat", "rest"]
    assert not [name for names in named(groups, roberta) for name in names if ".layer.0." in name]


def test_a_group_that_freezes_stops_training(module):
    param_groups(module, GROUPINGS["frozen group"])
    assert not [name for name, p in module.named_parameters() if "embed" in name and p.requires_grad]


class Wrapped(nn.Module):
    """As DistributedDataParallel names things."""

    def __init__(self, inner):
        super().__init__()
        self.module = inner


@pytest.mark.parametrize(
    "wrap",
    [torch.compile, Wrapped, lambda m: torch.compile(Wrapped(m)), lambda m: Wrapped(torch.compile(m))],
    ids=["compile", "ddp", "compile of ddp", "ddp of compile"],
)
def test_a_wrapped_model_is_split_as_the_bare_one(wrap, llama):
    grouping = Grouping.classic(("glob:model.layers.?.*", "model.norm"))
    wrapped = wrap(llama)
    assert next(wrapped.named_parameters())[0] != next(llama.named_parameters())[0]
    assert named(param_groups(wrapped, grouping), llama) == named(param_groups(llama, grouping), llama)
    table = summary(wrapped).model
    assert list(table.names) == [name for name, _ in llama.named_parameters()]
    assert [finding.id for finding in table.findings] == ["wrapped"]
    assert table.origin.class_name == "LlamaForCausalLM"


def test_names_are_cleaned_as_exported_code_cleans_them(llama):
    space = {}
    exec(export("torch-groups", summary(llama).model, Grouping.classic()), space)
    inner = [name for name, _ in llama.named_parameters()]
    for prefix in ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "_fsdp_wrapped_module."):
        names = [f"{prefix}{name}" for name in inner]
        assert unwrapped(names) == list(map(space["clean"], names)) == inner
    deep = [f"model.layers.0._checkpoint_wrapped_module.{name}" for name in ("a", "b")]
    assert unwrapped(deep) == list(map(space["clean"], deep)) == ["model.layers.0.a", "model.layers.0.b"]


def test_a_child_of_the_model_s_own_that_is_called_module_stays():
    names = ["module.weight", "head.weight"]
    assert unwrapped(names) == names


def test_names_that_would_become_equal_stay():
    names = ["_orig_mod.weight", "weight"]
    assert unwrapped(names) == names


@pytest.mark.parametrize(
    ("grouping", "said"),
    [
        (Grouping((Rule("all", (), {"lr_mult": 0.5}),)), "no learning rate"),
        (Grouping.classic(("re:(",)), "no_decay: re:("),
        (Grouping.classic(("ndim<",)), "no_decay: ndim<"),
        (Grouping((Rule("all", (), {"params": 1}),)), "not an option"),
        (Grouping((Rule("all", (), {"freeze": True}),)), "no group of AdamW"),
        (Grouping((Rule("m", ("ndim==2",), {"optimizer": "Muon"}), Rule("rest"))), "Muon, AdamW"),
    ],
)
def test_what_can_not_be_done_is_one_clear_line(grouping, said, llama):
    with pytest.raises(ParamxError) as raised:
        param_groups(copy.deepcopy(llama), grouping)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_each_of_several_optimizers_gets_its_own_groups(llama):
    grouping = Grouping(
        (Rule("hidden", ("ndim==2", "!embed"), {"optimizer": "Muon", "weight_decay": 0.1}), Rule("rest"))
    )
    muon = param_groups(llama, grouping, optimizer="Muon")
    rest = param_groups(llama, grouping, optimizer="AdamW")
    assert [[group["name"] for group in groups] for groups in (muon, rest)] == [["hidden"], ["rest"]]
    torch.optim.Muon(muon, lr=0.02)
    assert sum(len(group["params"]) for group in (*muon, *rest)) == len(list(llama.parameters()))


def test_what_is_no_module_is_refused():
    with pytest.raises(ParamxError, match=r"dict: it is no torch\.nn\.Module"):
        param_groups({}, Grouping.classic())


def test_groups_go_to_a_file_and_come_back(tmp_path):
    grouping = GROUPINGS["three, with rates"]
    save_grouping(grouping, tmp_path / "my.toml")
    assert load_grouping(tmp_path / "my.toml") == grouping


# --- summary


def test_a_summary_holds_every_row_and_its_sums_in_each_form(roberta):
    from rich.console import Console

    shown = summary(roberta, Grouping.classic())
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(shown)
    for text in (str(shown), shown._repr_html_(), console.export_text()):
        for name, _ in roberta.named_parameters():
            assert name in text
        total = sum(p.numel() for p in roberta.parameters())
        assert f"{total:,} parameters" in text
        assert "✔ equals the counting loop" in text
        assert "no_decay" in text and "frozen" in text
        assert "lm_head.decoder.weight" in text, "tied names are told"
    assert "group" not in str(summary(roberta)).split("\n\n")[1].splitlines()[0]


def test_names_are_never_markup():
    module = nn.Module()
    for name in ("<script>alert(1)</script>", "[bold]x[/bold]", "[/x]", "a&b", "\x1b[31m"):
        module.register_parameter(name, nn.Parameter(torch.zeros(1)))
    from rich.console import Console

    shown = summary(module)
    html = shown._repr_html_()
    assert "<script>" not in html
    assert "&lt;script&gt;" in html and "a&amp;b" in html
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(shown)
    text = console.export_text()
    assert "[bold]x[/bold]" in text and "[/x]" in text
    assert "\x1b" not in text + html + str(shown)


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120])
def test_a_narrow_console_loses_columns_and_no_name(width, llama):
    from rich.console import Console

    console = Console(width=width, record=True, file=io.StringIO())
    console.print(summary(llama, Grouping.classic()))
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= width
    assert "model.norm.weight" in text


def test_a_long_table_says_what_it_leaves_out(monkeypatch, llama):
    monkeypatch.setattr("explorer.notebook.MAX_ROWS", 4)
    shown = summary(llama)
    more = len(shown.model) - 4
    assert f"{more} tensors more not shown" in str(shown)
    assert shown._repr_html_().count("<tr>") == 1 + 4
    assert f"{shown.model.total:,} parameters" in shown.title, "the sums are of the whole"


def test_a_table_that_was_loaded_is_summarized_too(llama):
    table = summary(llama).model
    assert isinstance(table, Model)
    assert str(summary(table)) == str(summary(llama))


# --- load


def test_load_opens_in_a_worker_and_keeps_torch_out_of_this_process():
    code = """
        import sys, explorer
        model = explorer.load("kantaibert", offline=True)
        assert type(model) is explorer.Model and type(model[0]) is explorer.Param
        print(len(model), model.total, {"torch", "transformers", "textual"} & set(sys.modules))
        try:
            explorer.load("roberta-bsae", offline=True)
        except explorer.ParamxError as error:
            print(error)
    """
    first, second = run(code).stdout.splitlines()
    assert first == "106 83504416 set()"
    assert second.startswith("roberta-bsae: ")


# --- explore


def run(code, **environment):
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "HF_HUB_OFFLINE": "1", **environment},
        timeout=60,
        check=True,
    )


def test_the_package_offers_exactly_its_names_and_loads_nothing_for_them():
    code = """
        import sys, explorer
        heavy = {"torch", "transformers", "textual", "rich", "numpy", "asyncio"}
        assert dir(explorer) == sorted(explorer.__all__)
        for name in explorer.__all__:
            getattr(explorer, name)
        assert not heavy & set(sys.modules), heavy & set(sys.modules)
        try:
            explorer.nonsense
        except AttributeError as error:
            print(error)
        print(explorer.Grouping, explorer.explore.__doc__.splitlines()[0])
    """
    assert "has no attribute 'nonsense'" in run(code).stdout


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("print(explorer.explore(object()))", "no terminal"),
        (
            "import asyncio\nasync def main(): print(explorer.explore(object()))\nasyncio.run(main())",
            "an event loop runs already",
        ),
        (
            "import types\nshell = types.SimpleNamespace(kernel=object())\n"
            "sys.modules['IPython'] = types.SimpleNamespace(get_ipython=lambda: shell)\n"
            "print(explorer.explore(object()))",
            "a notebook",
        ),
    ],
    ids=["no terminal", "event loop", "notebook"],
)
def test_where_the_interface_can_not_go_it_says_what_to_do_and_returns_none(code, said):
    done = run(f"import sys, explorer\n{code}\nprint('after', 'textual' in sys.modules)")
    (line,) = done.stderr.splitlines()
    assert line.startswith("paramx: explore: ")
    assert said in line
    assert "summary(model)" in line
    assert done.stdout.splitlines() == ["None", "after False"]


@pytest.fixture
def on_a_terminal(monkeypatch):
    """As if there were a terminal, with `explorer.ui.app.run` given by the test."""
    import explorer.ui.app

    monkeypatch.setattr("explorer.api.can_show_the_interface", lambda: True)
    return lambda run: monkeypatch.setattr(explorer.ui.app, "run", run)


def test_in_another_thread_it_says_so(on_a_terminal, capsys, llama):
    answers = []
    thread = threading.Thread(target=lambda: answers.append(explorer.explore(llama)))
    thread.start()
    thread.join()
    assert answers == [None]
    assert "main thread" in capsys.readouterr().err


def opened(spec, services):
    """Open as the interface does; return the loading and its last event."""
    loading = services.opener(spec)
    *_, last = loading.events()
    return loading, last


def test_explore_shows_the_live_module_and_returns_what_was_chosen(on_a_terminal, roberta):
    from explorer.core.loading import Loaded
    from explorer.ui.app import Outcome

    chosen = Grouping.classic(("ndim<2",))

    def run(spec, services):
        loading, last = opened(spec, services)
        assert isinstance(last, Loaded)
        table = last.model
        assert list(table.names) == [name for name, _ in roberta.named_parameters()]
        assert set(table.devices.values) == {"cpu"}
        assert table.requires_grad[table.names.index("roberta.encoder.layer.0.output.dense.weight")] is False
        assert (table.origin.class_name, table.origin.kind) == ("RobertaForMaskedLM", "live")
        assert "lm_head.decoder.weight" in loading.ask("decay_names", {})
        assert services.filter == "layer"
        assert services.grouping == Grouping.classic()
        assert [choice.target for choice in services.choices()] == [spec.target]
        loading.cancel()
        with pytest.raises(ParamxError):
            loading.ask("decay_names", {})
        return Outcome(None, chosen)

    on_a_terminal(run)
    assert explorer.explore(roberta, filter="layer") is chosen


def test_a_module_that_can_not_be_read_raises_one_line(on_a_terminal):
    from explorer.ui.app import Outcome

    class Odd(nn.Linear):
        def named_parameters(self, *arguments, **options):
            raise OSError("gone\x1b")

    def run(spec, services):
        return Outcome(opened(spec, services)[1].line, services.grouping)

    on_a_terminal(run)
    with pytest.raises(ParamxError, match=r"Odd: OSError: gone\\x1b"):
        explorer.explore(Odd(1, 1))


async def test_the_real_interface_opens_a_live_module_and_keeps_the_groups(llama):
    from explorer.api import _opened
    from explorer.core.loading import OpenSpec
    from explorer.sources.live_loading import LiveLoading
    from explorer.ui.app import ParamxApp
    from explorer.ui.services import Services

    start = Grouping.classic(("norm",))
    services = Services(lambda spec: LiveLoading(spec.target, lambda: _opened(llama)), lambda: (), start)
    app = ParamxApp(OpenSpec("LlamaForCausalLM"), services)
    async with app.run_test(size=(120, 40)) as pilot:
        for _ in range(100):
            await pilot.pause(0.02)
            if getattr(app.screen, "bench", None) is not None:
                break
        assert app.screen.bench.model.names[0] == "model.embed_tokens.weight"
        assert app.screen._decay_names() is not None
        await pilot.press("q")
    assert app.grouping == start
