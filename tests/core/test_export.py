"""Every exported form, executed on a real model, yields exactly the split that the screen shows."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from explorer.core.errors import ParamxError
from explorer.core.export import EXPORTS
from explorer.core.export.writing import export, same_form
from explorer.core.grouping_file import loads
from explorer.core.groups import Grouper, Grouping, Rule
from explorer.core.presets import PRESETS

torch = pytest.importorskip("torch")

PYTHON = [name for name, form in EXPORTS.items() if form.suffix == ".py"]


def table_of_module(module, target="tiny"):
    from explorer.core.param import Origin
    from explorer.sources.live_module import table_of

    return table_of(module, Origin(target, "test", "test", type(module).__name__))


@pytest.fixture(scope="module")
def roberta():
    """A RoBERTa with weights, a tied head, and a frozen first layer."""
    from transformers import RobertaConfig, RobertaForMaskedLM

    config = RobertaConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=20,
        type_vocab_size=1,
    )
    module = RobertaForMaskedLM(config)
    for parameter in module.roberta.encoder.layer[0].parameters():
        parameter.requires_grad_(False)
    return module


@pytest.fixture(scope="module")
def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50,
        hidden_size=8,
        num_hidden_layers=12,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=16,
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config)


GROUPINGS = {
    "classic": Grouping.classic(),
    "types": Grouping.classic(("bias", "type:*Norm", "!ndim>=2")),
    "every kind of term": Grouping(
        (
            Rule("regex", (r"re:layers?\.[0-1]\.", "!glob:*norm*", "!type:Emb*"), {"weight_decay": 0.2, "lr": 1e-3}),
            Rule(
                "names",
                ("name:lm_head.bias", "name:model.norm.weight", "ndim<2"),
                {"betas": (0.9, 0.98), "lr_mult": 0.5},
            ),
            Rule("not", ("!layer",), {"weight_decay": 0.3, "lr": 2e-3, "lr_mult": 2}),
            Rule("nothing", ("nowhere",), {"weight_decay": 0.7}),
            Rule("unwritten"),
            Rule("rest", (), {"weight_decay": 0.1}),
        )
    ),
    "hostile": Grouping(
        (
            Rule(
                "'\"\\\n\u2028# x {y}",
                ('"]); raise SystemExit(1) #', "'", "\\", "bias\n", 're:"""|bias', "{n}"),
                {"weight_decay": 0.0},
            ),
            Rule('"""', (), {"weight_decay": 0.1}),
        )
    ),
    "hostile substrings": Grouping.classic(('"]); raise SystemExit(1) #', "'''", "\n", "\\", "bias")),
    "frozen": Grouping((Rule("ice", ("embed",), {"freeze": True}), *Grouping.classic(("bias", "norm")).rules)),
    "bad terms": Grouping.classic(("bias", "", "re:(", "ndim<")),
}


def split_of(module, grouping):
    """What the screen shows: parameter names by group, what is frozen left out."""
    model = table_of_module(module)
    assignment = Grouper(model).assign(grouping)
    split = {}
    for i, rule in enumerate(grouping.rules):
        own = {model.names[index] for index in assignment.members(i) if model.requires_grad[index]}
        if own and not rule.options.get("freeze"):
            split[rule.name] = own
    return split


def names_in(groups, module):
    """Names of each of an optimizer's groups, from the parameters' identity."""
    name_of = {id(parameter): name for name, parameter in module.named_parameters()}
    sets = []
    for group in groups:
        own = [name_of[id(each)] for each in group["params"]]
        assert len(set(own)) == len(own)
        sets.append(set(own))
    return sets


def run(form, module, grouping):
    """Execute an exported form and return its optimizers."""
    text = export(form, table_of_module(module), grouping)
    space = {"model": module, "__name__": "exported"}
    exec(compile(text, form, "exec"), space)
    if form == "trainer":
        trainer = space["GroupedTrainer"].__new__(space["GroupedTrainer"])
        trainer.model, trainer.optimizer = module, None
        trainer.args = type("Args", (), {"learning_rate": 5e-5})()
        trainer.get_optimizer_cls_and_kwargs = lambda args, model: (torch.optim.AdamW, {"lr": args.learning_rate})
        return [trainer.create_optimizer()]
    if form == "lightning":
        # Lightning itself is not installed: the mixin runs on a plain module, which has all that it uses.
        holder = type("Holder", (space["GroupedOptimizer"], torch.nn.Module), {})()
        holder.model = module
        made = holder.configure_optimizers()
    elif "make_optimizers" in space:
        made = space["make_optimizers"](module)
    else:
        made = space["optimizer"]
    return made if isinstance(made, list) else [made]


@pytest.fixture(params=["roberta", "llama"])
def module(request):
    """A fresh copy: a form may freeze parameters."""
    import copy

    return copy.deepcopy(request.getfixturevalue(request.param))


@pytest.mark.parametrize("name", GROUPINGS)
@pytest.mark.parametrize("form", PYTHON)
def test_executed_code_splits_as_the_screen_shows(form, name, module):
    grouping = GROUPINGS[name]
    wanted = split_of(module, grouping)
    (optimizer,) = run(form, module, grouping)
    assert names_in(optimizer.param_groups, module) == list(wanted.values())
    for group, rule in zip(optimizer.param_groups, wanted, strict=True):
        options = grouping.rules[grouping.rule(rule)].options
        assert group["weight_decay"] == options.get("weight_decay", 0.01)
        rate = options.get("lr", 5e-5) * options.get("lr_mult", 1)
        assert group["lr"] == pytest.approx(rate)
        if "betas" in options:
            assert group["betas"] == options["betas"]
    for parameter in module.parameters():
        parameter.grad = torch.ones_like(parameter) if parameter.requires_grad else None
    optimizer.step()


TINY = {
    "roberta": ("RobertaForSequenceClassification", {"intermediate_size": 16}),
    "t5": ("T5ForConditionalGeneration", {"d_kv": 4, "d_ff": 16, "num_layers": 2, "num_heads": 2}),
    "qwen2_moe": (
        "Qwen2MoeForCausalLM",
        {
            "num_key_value_heads": 1,
            "moe_intermediate_size": 8,
            "shared_expert_intermediate_size": 8,
            "num_experts": 4,
        },
    ),
    "whisper": (
        "WhisperForConditionalGeneration",
        {
            "num_mel_bins": 4,
            "encoder_layers": 2,
            "decoder_layers": 2,
            "encoder_attention_heads": 2,
            "decoder_attention_heads": 2,
            "pad_token_id": 0,
        },
    ),
    "vit": ("ViTForImageClassification", {"intermediate_size": 16, "image_size": 8, "patch_size": 4}),
    "gemma3": (
        "Gemma3ForConditionalGeneration",
        {
            "text_config": {"vocab_size": 50, "hidden_size": 8, "num_hidden_layers": 2, "intermediate_size": 16},
            "vision_config": {"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 8},
        },
    ),
}
"""Class and sizes of one small model of each family; whisper's sinusoidal positions are frozen."""


@pytest.fixture(scope="module", params=TINY)
def family(request):
    import transformers

    name, sizes = TINY[request.param]
    kind = getattr(transformers, name)
    common = {"vocab_size": 50, "hidden_size": 8, "d_model": 8, "num_hidden_layers": 2, "num_attention_heads": 2}
    return kind(kind.config_class(**{**common, **sizes}))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("form", PYTHON)
def test_every_recipe_s_code_trains_each_tensor_as_the_table_says(form, preset, family):
    model = table_of_module(family)
    grouping = PRESETS[preset].build(model)
    assignment = Grouper(model).assign(grouping)
    wanted = {}
    for index, name in enumerate(model.names):
        options = grouping.rules[assignment.codes[index]].options
        rate = 5e-5 * options.get("lr_mult", 1)
        if model.requires_grad[index]:
            wanted[name] = (options.get("optimizer", "AdamW"), pytest.approx(rate), options["weight_decay"])
    if form == "trainer" and preset == "muon":
        with pytest.raises(ParamxError, match="Trainer runs one"):
            export(form, model, grouping)
        return
    got = {}
    for optimizer in run(form, family, grouping):
        for group, names in zip(optimizer.param_groups, names_in(optimizer.param_groups, family), strict=True):
            assert not names & got.keys()
            got |= dict.fromkeys(names, (type(optimizer).__name__, group["lr"], group["weight_decay"]))
    assert got == wanted


@pytest.mark.parametrize("form", ["torch-groups", "trainer", "lightning"])
def test_a_frozen_group_stops_training(form, module):
    run(form, module, GROUPINGS["frozen"])
    assert {name for name, p in module.named_parameters() if "embed" in name and p.requires_grad} == set()


def test_plain_substrings_give_the_idiom_that_people_know(roberta):
    text = export("torch", table_of_module(roberta), Grouping.classic())
    assert 'no_decay = ["bias", "LayerNorm.weight"]' in text
    assert "if any(nd in n for nd in no_decay)" in text
    assert '"weight_decay": 0.0' in text and "weight_decay_rate" in text.split("optimizer_grouped")[0]
    assert "def " not in text


@pytest.mark.parametrize("terms", [("bias",), ("bias", "type:*Norm"), ("!ndim<2",)])
def test_the_form_that_writes_the_same_is_known(roberta, terms):
    grouping = Grouping.classic(terms)
    model = table_of_module(roberta)
    same = export("torch", model, grouping) == export("torch-groups", model, grouping)
    assert same_form("torch", grouping) == ("torch-groups" if same else "")


def test_findings_are_written_as_comments(roberta):
    assert "# warning: 1 of 6 norm weights decays" in export("torch", table_of_module(roberta), Grouping.classic())


def test_the_header_says_what_of_a_group_the_optimizer_does_not_get(roberta):
    rules = (Rule("ice", ("layer.0.",)), Rule("biases", ("bias",)), Rule("off", ("lm_head",), {"freeze": True}))
    text = export("torch-groups", table_of_module(roberta), Grouping((*rules, Rule("rest"))))
    assert "#   ice: 16 tensors, 600 parameters, all frozen: not in the optimizer" in text
    assert "#   biases: 20 tensors, 218 parameters\n" in text
    assert "#   off: 2 tensors, 72 parameters, all frozen: not in the optimizer" in text
    text = export("torch-groups", table_of_module(roberta), Grouping((Rule("biases", ("bias",)), Rule("rest"))))
    assert "#   biases: 28 tensors, 290 parameters, of which 72 frozen" in text


def test_a_hostile_target_stays_in_its_comment(roberta):
    text = export("torch", table_of_module(roberta, "x\nraise SystemExit(1)\r\u2028y"), Grouping.classic())
    compile(text, "x", "exec")
    assert not any(line.startswith("raise") for line in text.splitlines())


def test_named_groups_keep_the_names_in_the_optimizer_s_state(llama):
    (optimizer,) = run("torch-named", llama, GROUPINGS["types"])
    assert [group["name"] for group in optimizer.param_groups] == ["no_decay", "decay"]
    assert "model.norm.weight" in optimizer.state_dict()["param_groups"][0]["param_names"]


def test_one_optimizer_is_made_as_several_are_and_by_itself(llama):
    space = {}
    exec(export("torch-groups", table_of_module(llama), GROUPINGS["types"]), space)
    (listed,), alone = space["make_optimizers"](llama, lr=0.5), space["make_optimizer"](llama, lr=0.5)
    assert names_in(listed.param_groups, llama) == names_in(alone.param_groups, llama)
    assert listed.defaults == alone.defaults and alone.defaults["lr"] == 0.5


def test_names_are_decided_before_wrapping_and_found_after_it(llama):
    import copy

    class Wrapped(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.module = inner

    inner = copy.deepcopy(llama)
    grouping = GROUPINGS["types"]
    wanted = list(split_of(inner, grouping).values())
    space = {}
    exec(export("torch-groups", table_of_module(inner), grouping), space)
    names = space["group_names"](inner)
    for wrap in (torch.compile, Wrapped, lambda m: torch.compile(Wrapped(m)), lambda m: Wrapped(torch.compile(m))):
        wrapped = wrap(inner)
        (first, _), *_ = wrapped.named_parameters()
        assert first not in names  # the wrapper did change the names
        groups = space["param_groups"](wrapped, names)
        got = [{space["clean"](n) for n in each} for each in names_in(groups.values(), wrapped)]
        assert got == wanted


def test_two_optimizers_are_made_where_groups_ask_for_them(llama):
    grouping = Grouping(
        (
            Rule("hidden", ("ndim==2", "!embed"), {"optimizer": "Muon", "weight_decay": 0.1, "lr": 0.02}),
            Rule("flat", ("ndim<2",), {"weight_decay": 0.0}),
            Rule("rest"),
        )
    )
    muon, adamw = run("torch", llama, grouping)
    assert (type(muon), type(adamw)) == (torch.optim.Muon, torch.optim.AdamW)
    wanted = list(split_of(llama, grouping).values())
    assert names_in(muon.param_groups, llama) + names_in(adamw.param_groups, llama) == wanted
    assert [type(each) for each in run("lightning", llama, grouping)] == [torch.optim.Muon, torch.optim.AdamW]
    with pytest.raises(ParamxError, match="Trainer runs one"):
        export("trainer", table_of_module(llama), grouping)


def test_the_trainer_s_own_constructor_takes_the_exported_class(roberta, tmp_path):
    import copy

    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    module = copy.deepcopy(roberta)
    space = {}
    exec(export("trainer", table_of_module(module), Grouping.classic()), space)
    arguments = transformers.TrainingArguments(str(tmp_path), learning_rate=1e-3, report_to=[], use_cpu=True)
    optimizer = space["GroupedTrainer"](module, arguments).create_optimizer()
    assert names_in(optimizer.param_groups, module) == list(split_of(module, Grouping.classic()).values())
    assert optimizer.param_groups[0]["lr"] == 1e-3


def test_an_optimizer_that_torch_has_not_has_a_comment_where_it_would_be_imported(roberta):
    lines = export("torch-groups", table_of_module(roberta), Grouping((Rule("r"),), "AdamWW")).splitlines()
    assert lines[lines.index("import torch") + 1].startswith("# from … import AdamWW: it is none of torch's")


def test_json_lists_the_members_of_each_group(roberta):
    document = json.loads(export("json", table_of_module(roberta), Grouping.classic()))
    assert document["format"] == 1
    wanted = split_of(roberta, Grouping.classic())
    every = {name for name, _ in roberta.named_parameters()}
    assert set().union(*(group["members"] for group in document["groups"])) == every
    for group in document["groups"]:
        assert wanted[group["name"]] <= set(group["members"])
        assert group["tensors"] == len(group["members"])
    assert any(each["id"] == "norm-decays" for each in document["findings"])


@pytest.mark.parametrize("name", [name for name in GROUPINGS if name != "bad terms"])
def test_toml_reads_back_as_the_same_groups(name, llama):
    assert loads(export("toml", table_of_module(llama), GROUPINGS[name])) == GROUPINGS[name]


@pytest.mark.parametrize(
    ("grouping", "why"),
    [
        (Grouping((Rule("r", (), {"params": 1}),)), "parameters"),
        (Grouping((Rule("r", (), {"eps": object()}),)), "written as Python"),
        (Grouping((Rule("r", (), {"freeze": True}),)), "nothing to optimize"),
        (Grouping((Rule("r"),), "os.system('x')#"), "optimizer class"),
    ],
)
def test_what_can_not_be_code_is_refused(grouping, why, llama):
    for form in ("torch", "torch-groups", "trainer", "lightning"):
        with pytest.raises(ParamxError, match=why):
            export(form, table_of_module(llama), grouping)


def test_code_for_a_checkpoint_file_runs_too(table, roberta):
    rows = [(name, tuple(p.shape), None) for name, p in roberta.named_parameters()]
    space = {}
    exec(export("torch-groups", table(rows), Grouping.classic()), space)
    groups = space["param_groups"](roberta)
    assert names_in(groups.values(), roberta) == list(split_of(roberta, Grouping.classic()).values())


TERMS = [
    "bias",
    "norm",
    "layers.1",
    "embed",
    "weight",
    "glob:*.1?.*",
    r"re:\.[0-3]\.",
    "type:*Norm",
    "type:Linear",
    "ndim<2",
]
TERMS += ["ndim>=2", "name:model.norm.weight", "name:lm_head.bias", "re:^model|(?i)X", "", "re:(", "'", '"\\']
rule_terms = st.lists(
    st.lists(st.builds(str.__add__, st.sampled_from(["", "", "!"]), st.sampled_from(TERMS)), max_size=4), max_size=4
)


@given(rule_terms)
def test_exported_conditions_equal_the_assignment_whatever_the_terms(tiny_modules, all_terms):
    grouping = Grouping((*(Rule(f"g{i}", tuple(terms)) for i, terms in enumerate(all_terms)), Rule("rest")))
    for module, model, grouper in tiny_modules:
        space = {}
        exec(export("torch-groups", model, grouping, grouper.assign(grouping)), space)
        names = [rule.name for rule in grouping.rules]
        wanted = {model.names[i]: names[code] for i, code in enumerate(grouper.assign(grouping).codes)}
        assert space["group_names"](module) == wanted


@pytest.fixture(scope="module")
def tiny_modules(roberta, llama):
    models = [(module, table_of_module(module)) for module in (roberta, llama)]
    return [(module, model, Grouper(model)) for module, model in models]
