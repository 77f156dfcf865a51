"""Builds what the user's own code returns: `package.module:factory`, a module or a callable that returns one.

This is the one source that runs code of the place it is started in: the target names it. The current directory is
importable while it is built, first, as with `python -m`; no other source looks there.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import os
import platform
import re
import sys
import sysconfig
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from explorer.core.errors import ParamxError
from explorer.core.loading import OpenSpec
from explorer.core.param import Origin
from explorer.core.paths import current_directory
from explorer.core.text import cut, visible
from explorer.sources import Opened, Report, out_of_memory

if TYPE_CHECKING:
    import torch

KIND = "factory"
"""This source's name in the SOURCES table."""

TARGET = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<name>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")
"""`package.module:attribute`; the attribute may be dotted: `models:Net.small`."""

WORD = re.compile(r"[\w./:@+-]+")
"""What an argument may be without quotes: a word is taken as text if it is no Python literal."""

FRAMES = 3
"""Most of the user's frames that an error names, the innermost last."""

OFFERED = 6
"""Most names of a module that an error offers in place of one that is not there."""

LIBRARIES = tuple(
    f"{os.path.realpath(folder)}{os.sep}"
    for folder in {sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib")}
)
"""Folders of code that is not the user's."""


def is_factory(target: str) -> bool:
    """Whether a target names an object to import; a file of that name is a file."""
    return TARGET.fullmatch(target) is not None and not os.path.lexists(target)


def misspelt(target: str) -> ParamxError | None:
    """Say how a factory is written, where a target looks like one but is not; `None` for other targets."""
    head, colon, name = target.partition(":")
    path = Path(head if head.endswith(".py") else f"{head}.py")
    is_code = (head.endswith(".py") or "/" in head) and os.path.isfile(path)  # noqa: PTH113 - too long a name is no file, not an error
    told: tuple[str, str] | None = None
    if not colon:
        if head.endswith(".py") and is_code:
            told = "Python source, not a checkpoint", _as_module(path, "FACTORY")
    elif name.startswith("//") or os.path.lexists(target):
        pass  # an address, a file of that name
    elif is_code:
        told = "code is named as a module, not as a file", _as_module(path, name or "FACTORY")
    elif not head and name:
        told = "no module before the colon", f"say package.module{target}"
    elif head and not name:
        told = "no name after the colon", f"say {head}:FACTORY, what in it returns a module"
    elif "/" not in head and TARGET.fullmatch(target) is None:
        remedy = "a factory is a dotted module, one colon, a dotted name: my.models:build"
        told = "neither a hub id nor package.module:factory", remedy
    return None if told is None else ParamxError(target, *told)


def _as_module(path: Path, name: str) -> str:
    """Return what to say to open a name of a file of code."""
    folder, there = Path(current_directory()), path.resolve()
    parts, home = [there.stem], there.parent
    while (home / "__init__.py").exists():
        parts, home = [home.name, *parts], home.parent
    said = f"{'.'.join(parts).removesuffix('.__init__')}:{name}"
    if TARGET.fullmatch(said) is None:
        return "give the file a name that Python can import, and say package.module:factory"
    return f"say {said}" + f" with {home} as the current directory" * (home != folder)


def open_model(spec: OpenSpec, report: Report) -> Opened:
    """Import an object and build the module that it is, or returns.

    It is called on the meta device, where nothing is allocated; if that fails it is called again on the processor.

    Args:
        spec: What to open; `arguments` are the callable's keywords.
        report: Called with each stage as it begins.

    Returns:
        The module's parameters, and what can be asked of it.

    Raises:
        ParamxError: It can't be imported, raises, or returns no module; the user's own lines are told.
    """
    keywords = {name: _literal(name, text) for name, text in spec.arguments}
    if len(keywords) < len(spec.arguments):
        raise ParamxError(spec.target, "an argument is given twice")
    try:
        folder = Path.cwd()
    except OSError:
        why = "the current directory, from which modules are imported, was deleted"
        raise ParamxError(spec.target, why, "change to another") from None
    report("importing torch")
    with out_of_memory.importing():
        import torch  # before the user's folder is looked into, where a torch.py may lie

    found = TARGET.fullmatch(spec.target)
    assert found is not None, "SOURCES asks is_factory first"
    with _importable(folder):
        report(f"importing {found['module']}")
        thing = _imported(spec.target, found["module"], found["name"])
        if isinstance(thing, torch.nn.Module):
            if keywords:
                raise ParamxError(spec.target, f"it is a {type(thing).__name__}, which takes no --arg")
            module, how = thing, "as it was imported"
        elif callable(thing):
            report(f"building {found['name']}")
            module, how = _built(spec.target, thing, keywords)
        else:
            raise ParamxError(spec.target, f"it is {_kind(thing)}", "name a torch.nn.Module, or what returns one")
    report("reading parameters")
    from explorer.sources.live_module import live_origin, table_of
    from explorer.sources.module_answers import answers_of
    from explorer.sources.values.answers import value_answers
    from explorer.sources.values.in_memory import FACTORY_REMEDY
    from explorer.sources.values.providers import ModuleValues

    live = live_origin(module, KIND)
    origin = Origin(
        visible(spec.target),
        KIND,
        how,
        live.class_name,
        live.model_type,
        live.config,
        {**live.versions, "python": platform.python_version()},
    )
    values = ModuleValues(module, FACTORY_REMEDY)
    return Opened(table_of(module, origin), {**answers_of(module), **value_answers(values)}, values)


def _literal(name: str, text: str) -> Any:
    """Read the value of an argument.

    Raises:
        ParamxError: It is neither a Python literal nor a word.
    """
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        if WORD.fullmatch(text.strip()):
            return text.strip()
        what = f"--arg {name}"
        raise ParamxError(what, f"{text!r} is no Python literal", "quote text: --arg \"name='a b'\"") from None


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Let modules of a folder be imported first."""
    entry = str(folder)
    sys.path.insert(0, entry)
    try:
        yield
    finally:
        sys.path.remove(entry)


def _imported(target: str, module_name: str, name: str) -> Any:
    """Import the object.

    Raises:
        ParamxError: There is no such module or attribute, or the module raises.
    """
    try:
        thing: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            if (wrong := misspelt(target)) is not None:
                raise wrong from error
            remedy = "start paramx in the folder that holds it, or set PYTHONPATH"
            raise ParamxError(target, f"no module named {error.name}", remedy) from error
        raise _raised(target, error) from error
    except (Exception, SystemExit) as error:
        raise _raised(target, error) from error
    for part in name.split("."):
        try:
            thing = getattr(thing, part)
        except AttributeError as error:
            import difflib

            close = difflib.get_close_matches(part, [word for word in dir(thing) if word[:1] != "_"], 3)
            hint = f"did you mean {' or '.join(close)}?" if close else _offer(thing, module_name)
            raise ParamxError(target, f"{module_name} has no {part}", hint) from error
    return thing


def _built(target: str, call: Callable[..., Any], keywords: dict[str, Any]) -> tuple[torch.nn.Module, str]:
    """Call the object, on meta where it can be; return the module, and in words how it was built.

    Raises:
        ParamxError: It raises on the processor too, or returns no module.
    """
    import torch

    try:
        with torch.device("meta"):
            made, how = call(**keywords), "built on meta, no weights"
    except (Exception, SystemExit) as first:
        try:
            made = call(**keywords)
        except (Exception, SystemExit) as error:
            raise _raised(target, error) from error
        how = f"built on the processor, because on meta it raises {type(first).__name__}: {_first_line(first)}"
    if not isinstance(made, torch.nn.Module):
        remedy = "return a torch.nn.Module"
        if isinstance(made, (tuple, list, dict)):
            remedy = "return the module alone"
        elif isinstance(made, type) or inspect.isroutine(made):
            remedy = f"call it: return {made.__name__}(…)"
        raise ParamxError(target, f"it returned {_kind(made)}, no torch.nn.Module", remedy)
    return made, visible(how)


def _kind(thing: object) -> str:
    """Say what an object is that is no module: `the class Linear`, `an int`, `None`."""
    if thing is None:
        return "None"
    if isinstance(thing, type) or inspect.isroutine(thing):
        return f"the {'class' if isinstance(thing, type) else 'function'} {thing.__name__}"
    name = type(thing).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _offer(thing: object, module_name: str) -> str:
    """Name what can be opened of a module or class: what was made there, and can be called or is a module."""
    import torch

    own = [
        name
        for name, item in vars(thing).items()
        if name[:1] != "_"
        and (isinstance(item, torch.nn.Module) or (callable(item) and getattr(item, "__module__", "") == module_name))
    ]
    more = f" and {len(own) - OFFERED:,} more" if len(own) > OFFERED else ""
    return f"it has {', '.join(own[:OFFERED])}{more}" if own else "nothing in it can be called"


def _raised(target: str, error: BaseException) -> ParamxError:
    """Tell an exception of the user's code in one line: what, and where in their own files."""
    text = f"{type(error).__name__}: {_first_line(error)}".removesuffix(": ")
    frames = _own_frames(error, target.partition(":")[0].partition(".")[0])
    places = [f"{_shown(frame.filename)}:{frame.lineno} in {frame.name}" for frame in frames]
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        places.append(f"{_shown(error.filename)}:{error.lineno}")
    return ParamxError(target, f"{text} at {', '.join(places[-FRAMES:])}" if places else text)


def _own_frames(error: BaseException, package: str) -> list[traceback.FrameSummary]:
    """Return the frames in the user's own files, outermost first: in no library but the one that the target names."""
    others = (f"{os.path.realpath(Path(__file__).parents[1])}{os.sep}", *LIBRARIES)
    named = sys.modules.get(package)
    folders = tuple(f"{os.path.realpath(path)}{os.sep}" for path in getattr(named, "__path__", ()))
    own = []
    for frame in traceback.extract_tb(error.__traceback__):
        path = os.path.realpath(frame.filename)
        if not frame.filename.startswith("<") and (path.startswith(folders) or not path.startswith(others)):
            own.append(frame)
    return own


def _shown(path: str) -> str:
    """Return a path as short as it is clear: relative to the current directory if it is below."""
    try:
        return str(Path(path).resolve().relative_to(current_directory()))
    except ValueError:
        return path


def _first_line(error: BaseException) -> str:
    """Return the first line of an exception's text, with a mark where there are more."""
    text, *more = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    return cut(text + " …" * bool(more))
