"""The user's own functions and modules: `package.module:factory`."""

from __future__ import annotations

import os
import sys
import textwrap

import pytest

from explorer.core.errors import ParamxError
from explorer.core.loading import Loaded, OpenSpec
from explorer.sources import SOURCES, open_served
from explorer.sources.factory import is_factory
from explorer.sources.worker import open_in_worker

torch = pytest.importorskip("torch")

CODE = """
    import torch
    from torch import nn

    calls = []

    class Net(nn.Module):
        def __init__(self, depth=2, width=4):
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
            self.head = nn.Linear(width, width, bias=False)
            self.head.weight = self.layers[0].weight

        @classmethod
        def small(cls):
            return cls(1, 2)

    class Block(nn.Module):
        def __init__(self, width):
            super().__init__()
            if width < 0:
                raise ValueError(f"bad width {width}\\x1b[31m\\nmore of it")

    def build(depth=2, width=4, **others):
        calls.append((depth, width, others))
        return Net(depth, width)

    def wrong(width=-1):
        return nn.Sequential(nn.Linear(2, 2), Block(width))

    def library():
        return nn.Linear(2, 2)(torch.zeros(3, 3, device="cpu"))

    def needs_values(rate=0.1):
        rates = [x.item() for x in torch.ones(3) * rate]  # transformers may leave its own linspace behind
        return nn.Sequential(*(nn.Dropout(r) for r in rates), nn.Linear(3, 3))

    def pair():
        return Net(), 1

    def a_class():
        return Net

    def an_int():
        return 5

    def nothing():
        pass

    def quits():
        raise SystemExit(3)

    net = Net(1)
    number = 7
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A package in the current directory, that no other source would import."""
    package = tmp_path / "minenet"
    package.mkdir()
    (package / "models.py").write_text(textwrap.dedent(CODE))
    (package / "broken.py").write_text("x = (\n")
    (package / "raises.py").write_text("import torch\n\n\ndef f():\n    return {}['k']\n\n\nf()\n")
    (package / "needs.py").write_text("import no_such_library_at_all\n")
    monkeypatch.chdir(tmp_path)
    before = list(sys.path)
    yield tmp_path
    assert sys.path == before, "the current directory is importable while it is built, and only then"
    for name in [name for name in sys.modules if name.partition(".")[0] == "minenet"]:
        del sys.modules[name]


def open_it(target, **arguments):
    spec = OpenSpec(target, arguments=tuple(arguments.items()))
    return open_served(spec, lambda text: None).model


def refusal(target, **arguments):
    with pytest.raises(ParamxError) as raised:
        open_it(target, **arguments)
    line = str(raised.value)
    assert "\n" not in line
    assert "\x1b" not in line
    return line


@pytest.mark.parametrize("target", ["a.b:c", "models:Net.small", "x:y"])
def test_a_dotted_name_a_colon_and_an_attribute_are_a_factory(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert is_factory(target)
    chosen = next(source for source in SOURCES if source.matches(OpenSpec(target)))
    assert chosen.name == "factory"


@pytest.mark.parametrize(
    "target", ["roberta-base", "org/name", "a:b:c", "a.b:", ":c", "a-b:c", "C:/x", "./a:b", "1a:b"]
)
def test_what_is_not_such_a_name_is_none(target):
    assert not is_factory(target)


def test_a_file_of_that_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a:b").write_text("")
    assert not is_factory("a:b")


def test_a_callable_is_called_on_meta_with_its_arguments(project):
    model = open_it("minenet.models:build", depth="3", width="8", kind="tiny/one", flags="[1, 'a']", none="None")
    assert (len(model), model.origin.kind, model.origin.class_name) == (6, "factory", "Net")
    assert set(model.devices.values) == {"meta"}
    assert model.origin.description == "built on meta, no weights"
    assert model.aliases == {0: ("head.weight",)}, "ties are kept"
    from minenet import models

    assert models.calls == [(3, 8, {"kind": "tiny/one", "flags": [1, "a"], "none": None})]


def test_a_class_its_method_and_a_module_are_opened_too(project):
    assert len(open_it("minenet.models:Net")) == 4
    assert open_it("minenet.models:Net.small").total == 2 * 2 + 2
    model = open_it("minenet.models:net")
    assert (len(model), set(model.devices.values)) == (2, {"cpu"})
    assert model.origin.description == "as it was imported"


def test_what_can_not_be_built_on_meta_is_built_on_the_processor_and_that_is_said(project):
    model = open_it("minenet.models:needs_values")
    assert set(model.devices.values) == {"cpu"}
    assert model.origin.description.startswith("built on the processor, because on meta it raises RuntimeError: ")
    assert "\n" not in model.origin.description


def test_an_exception_is_told_in_one_line_with_the_user_s_own_frames(project):
    line = refusal("minenet.models:wrong")
    assert line == (
        "minenet.models:wrong: ValueError: bad width -1\\x1b[31m … at "
        "minenet/models.py:29 in wrong, minenet/models.py:22 in __init__"
    )


def test_frames_of_libraries_are_left_out(project):
    line = refusal("minenet.models:library")
    assert line.startswith("minenet.models:library: RuntimeError: ")
    assert line.endswith(" at minenet/models.py:32 in library")


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("minenet.models:bild", "minenet.models has no bild; did you mean build?"),
        ("minenet.models:zzz", "has no zzz; it has Net, Block, build, wrong, library, needs_values and"),
        ("minenet.modls:build", "no module named minenet.modls; start paramx in the folder"),
        ("nowhere_at_all:build", "no module named nowhere_at_all"),
        ("minenet.models:pair", "it returned a tuple, no torch.nn.Module; return the module alone"),
        ("minenet.models:number", "it is an int; name a torch.nn.Module"),
        ("minenet.models:a_class", "it returned the class Net, no torch.nn.Module; call it: return Net(…)"),
        ("minenet.models:an_int", "it returned an int, no torch.nn.Module; return a torch.nn.Module"),
        ("minenet.models:nothing", "it returned None, no torch.nn.Module; return a torch.nn.Module"),
        ("minenet.models:quits", "SystemExit: 3 at minenet/models.py:"),
        ("minenet.broken:x", "SyntaxError: '(' was never closed"),
        ("minenet.broken:x", "minenet/broken.py:1"),
        ("minenet.raises:x", "KeyError: 'k' at minenet/raises.py:8 in <module>, minenet/raises.py:5 in f"),
        ("minenet.needs:x", "ModuleNotFoundError: No module named 'no_such_library_at_all' at minenet/needs.py:1"),
    ],
)
def test_what_can_not_be_opened_says_why(project, target, said):
    assert said in refusal(target)


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("minenet.models:", "no name after the colon; say minenet.models:FACTORY"),
        (":build", "no module before the colon; say package.module:build"),
        ("minenet/models.py", "Python source, not a checkpoint; say models:FACTORY with {} as the current directory"),
        ("{}/models.py:build", "named as a module, not as a file; say models:build with {} as the current directory"),
        ("./minenet/models:build", "say models:build with {} as the current directory"),
        ("packed/inner.py:build", "say packed.inner:build"),
        ("here.py:build", "say here:build"),
        ("my-own.py:build", "give the file a name that Python can import"),
        ("a-b:c", "neither a hub id nor package.module:factory; a factory is a dotted module"),
    ],
)
def test_a_factory_that_is_written_otherwise_says_how_it_is_written(project, target, said):
    (project / "packed").mkdir()
    for name in ("packed/__init__.py", "packed/inner.py", "here.py", "my-own.py"):
        (project / name).write_text("def build(): ...\n")
    line = refusal(target.format(project / "minenet"))
    assert said.format(project / "minenet") in line


def test_arguments_that_do_not_fit_are_refused(project):
    assert "takes no --arg" in refusal("minenet.models:net", depth="1")
    assert "unexpected keyword argument 'dpeth'" in refusal("minenet.models:Net", dpeth="1")
    assert "--arg depth: '[1' is no Python literal" in refusal("minenet.models:Net", depth="[1")
    with pytest.raises(ParamxError, match="given twice"):
        open_served(OpenSpec("minenet.models:Net", arguments=(("depth", "1"), ("depth", "2"))), lambda text: None)


def test_an_installed_package_s_own_frames_are_told(project, monkeypatch):
    import explorer.sources.factory as factory

    monkeypatch.setattr(factory, "LIBRARIES", (*factory.LIBRARIES, f"{os.path.realpath(project)}{os.sep}"))
    assert "minenet/models.py:22 in __init__" in refusal("minenet.models:wrong")


def test_a_torch_in_the_current_directory_is_not_taken_for_torch(project):
    (project / "torch.py").write_text("raise SystemExit('sprung')")
    loading = open_in_worker(OpenSpec("minenet.models:build", arguments=(("depth", "1"),)))
    try:
        *stages, last = loading.events()
    finally:
        loading.cancel()
    assert isinstance(last, Loaded), last
    assert [stage.text for stage in stages] == [
        "importing torch",
        "importing minenet.models",
        "building build",
        "reading parameters",
    ]
    assert last.model.origin.target == "minenet.models:build"


def test_it_answers_questions_about_what_was_built(project):
    opened = open_served(OpenSpec("minenet.models:build"), lambda text: None)
    assert opened.answers["decay_names"]({}) is None, "it is not of transformers"


def test_what_a_factory_has_no_values_for_is_not_advised_to_be_loaded(project):
    opened = open_served(OpenSpec("minenet.models:Net"), lambda text: None)
    asked = (lambda: opened.values(0), lambda: opened.answers["statistics"]({"index": 0}))
    for ask in asked:
        with pytest.raises(ParamxError) as caught:
            ask()
        assert "--load" not in caught.value.line
        assert "open a checkpoint of it" in caught.value.line


def test_a_factory_needs_a_current_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tmp_path.rmdir()
    with pytest.raises(ParamxError, match="from which modules are imported, was deleted; change to another"):
        open_served(OpenSpec("torch.nn:Identity"), print)
