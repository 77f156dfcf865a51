"""What an open model can be asked through the worker."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from explorer.core.errors import ParamxError
from explorer.core.groups import Grouper
from explorer.core.loading import Loaded, OpenSpec
from explorer.core.presets import hf_trainer
from explorer.sources import SOURCES, Opened, open_served
from explorer.sources.live_module import table_of
from explorer.sources.module_answers import answers_of
from explorer.sources.worker import open_in_worker

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def trainers_own(module):
    """What transformers says, asked as a Trainer asks."""
    from transformers import Trainer

    class Bare(Trainer):
        def __init__(self):
            """Make none of what training needs."""

    return Bare().get_decay_parameter_names(module)


@pytest.mark.parametrize("name", ["roberta-base", "gpt2", "llama-7b", "t5-small"])
def test_the_decay_names_are_transformers_own_and_the_preset_follows_them(name):
    opened = open_served(OpenSpec(name, offline=True), lambda text: None)
    module = opened.answers["decay_names"].args[-1].args[0]
    names = opened.answers["decay_names"]({})
    assert names == trainers_own(module)
    table = opened.model
    grouping = hf_trainer(table, decay_names=names)
    assignment = Grouper(table).assign(grouping)
    decays = {table.names[index] for index in assignment.members(grouping.catch_all)}
    # As create_optimizer does: the names of tied aliases drop out.
    assert decays == {n for n, p in module.named_parameters() if n in set(trainers_own(module))}


@pytest.fixture(scope="module")
def served():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        loading = open_in_worker(OpenSpec("kantaibert", offline=True))
        with pytest.raises(ParamxError, match="not open yet"):
            loading.ask("decay_names", {})
        *_, last = loading.events()
        assert isinstance(last, Loaded)
        yield loading
        loading.cancel()


def test_the_worker_answers_again_and_again(served):
    first = served.ask("decay_names", {})
    assert len(first) == 41
    assert "lm_head.decoder.weight" in first, "alias names are told as transformers tells them"
    assert served.ask("decay_names", {}) == first


def test_threads_that_ask_at_once_each_get_their_own_answer(served):
    def ask(n):
        if n % 2:
            return served.ask("decay_names", {})
        with pytest.raises(ParamxError) as raised:
            served.ask(f"question-{n}", {})
        return str(raised.value)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(40)))
    for n, answer in enumerate(answers):
        assert answer == (
            served.ask("decay_names", {}) if n % 2 else f"question-{n}: this kind of target does not answer that"
        )


def test_a_request_that_is_too_long_is_refused_and_the_worker_lives(served):
    with pytest.raises(ParamxError, match="too long"):
        served.ask("decay_names", {"x": "y" * (1 << 20)})
    assert len(served.ask("decay_names", {})) == 41


SOURCE = """
import os, time
from array import array
from explorer.core.errors import ParamxError
from explorer.core.param import Model, Origin
from explorer.sources import Opened

def fails(arguments): raise ValueError("first line\\nsecond")
def refuses(arguments): raise ParamxError("it", "why", "try")
def dies(arguments): os._exit(7)
def waits(arguments): time.sleep(60)
def raw(arguments): return bytes(range(256)) * arguments["times"]
def same(arguments): return arguments
def odd(arguments): return object()

def open_model(spec, report):
    answers = {each.__name__: each for each in (fails, refuses, dies, waits, raw, same, odd)}
    return Opened(Model.from_params(Origin("t", "test", "test"), []), answers)
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A worker whose only source is made by the test."""
    (tmp_path / "made_source.py").write_text(SOURCE)
    import explorer.sources.worker as worker

    monkeypatch.setattr(
        worker,
        "_BOOT",
        worker._BOOT.replace(
            "serve(*map(int, sys.argv[2:]))",
            f"sys.path.insert(0, {str(tmp_path)!r})\n"
            "import explorer.sources as s\n"
            "s.SOURCES = (s.Source('made', 'made_source', lambda spec: True),)\n"
            "serve(*map(int, sys.argv[2:]))",
        ),
    )
    loading = open_in_worker(OpenSpec("t"))
    assert isinstance(list(loading.events())[-1], Loaded)
    yield loading
    loading.cancel()


def test_bytes_come_as_they_are_and_json_as_it_went(odd):
    assert odd.ask("raw", {"times": 4000}) == bytes(range(256)) * 4000
    assert odd.ask("raw", {"times": 0}) == b""
    assert odd.ask("same", {"a": [1, None, "é\n"]}) == {"a": [1, None, "é\n"]}


def test_a_failure_is_one_line_and_the_next_question_is_answered(odd):
    for request, line in (
        ("fails", "fails: ValueError: first line"),
        ("refuses", "it: why; try"),
        ("nonsense", "nonsense: this kind of target does not answer that"),
        ("odd", "odd: TypeError: Object of type object is not JSON serializable"),
    ):
        with pytest.raises(ParamxError) as raised:
            odd.ask(request, {})
        assert str(raised.value).startswith(line)
        assert odd.ask("same", {"n": 1}) == {"n": 1}


def test_a_worker_that_dies_while_asked_is_told_with_what_was_asked(odd):
    with pytest.raises(ParamxError, match=r"t: the worker ended \(exit 7\) while asked for dies"):
        odd.ask("dies", {})
    with pytest.raises(ParamxError):
        odd.ask("same", {})


def test_cancel_ends_a_question_that_hangs(odd):
    ended = []

    def ask():
        with pytest.raises(ParamxError) as raised:
            odd.ask("waits", {})
        ended.append(str(raised.value))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    odd.cancel()
    thread.join(5)
    assert not thread.is_alive()
    assert ended == ["t: closed"]


def test_what_is_not_of_transformers_has_no_decay_names():
    assert answers_of(torch.nn.Linear(2, 2))["decay_names"]({}) is None


def test_decay_names_of_a_wrapped_model_are_those_of_the_bare_one():
    from transformers import RobertaConfig, RobertaForMaskedLM

    with torch.device("meta"):
        module = RobertaForMaskedLM(RobertaConfig(num_hidden_layers=1))
    names = answers_of(module)["decay_names"]({})
    assert answers_of(torch.nn.DataParallel(module))["decay_names"]({}) == names


def test_a_source_may_return_the_bare_table():
    from explorer.core.param import Origin

    table = table_of(torch.nn.Linear(1, 1), Origin("x", "test", "test"))
    assert Opened(table).answers == {}
    assert [source.name for source in SOURCES][-1] == "transformers"
