"""The contract between worker and interface: what a source is asked to open, and the messages it sends meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol

from explorer.core.errors import ParamxError
from explorer.core.param import Model


@dataclass(frozen=True, slots=True)
class OpenSpec:
    """One thing to open, and how."""

    target: str
    """What the user named: a hub id, a built-in name, a path."""
    class_name: str | None = None
    """Class to build instead of the one the config names (`--class`)."""
    revision: str | None = None
    """Branch, tag or commit of a hub repository (`--revision`)."""
    trust_remote_code: bool = False
    """Whether a repository's own Python may run (`--trust-remote-code`); never asked for at a prompt."""
    offline: bool = False
    """Whether the network is left alone (`--offline`)."""
    arguments: tuple[tuple[str, str], ...] = ()
    """Keywords of a factory as they were typed, name and text (`--arg NAME=VALUE`)."""
    skeleton: bool = False
    """Whether the skeleton of the `config.json` beside a checkpoint file is laid over it; needs torch and seconds."""
    weights: bool = False
    """Whether the headers of a hub repository's weights are read too (`--weights`); never the weights."""
    remember: Literal["", "use", "check"] = ""
    """Whether tables are remembered on disk: not at all; a remembered one answers, and a built one is remembered; it
    is built in any case, and remembered anew."""

    load: bool = False
    """Whether the weights are loaded through `from_pretrained` (`--load`)."""
    dtype: str | None = None
    """torch's name of the dtype that they are loaded as (`--dtype`); `None` takes the checkpoint's."""
    device: str | None = None
    """Device that they are loaded onto (`--device`): `cpu`, `cuda:0`; `None` is main memory."""
    device_map: str | None = None
    """`auto` spreads the model over devices (`--device-map`); without `load` that is only planned."""
    max_memory: tuple[tuple[str, int], ...] = ()
    """Bytes that each device may take (`--max-memory`), by a GPU's number or `cpu`; empty asks the machine."""

    def __post_init__(self) -> None:
        """Make tuples of lists: a request that crossed a pipe as JSON has lists."""
        object.__setattr__(self, "max_memory", tuple((name, nbytes) for name, nbytes in self.max_memory))
        object.__setattr__(self, "arguments", tuple((name, text) for name, text in self.arguments))


class Stage(NamedTuple):
    """The source has begun another step."""

    text: str
    """What it does now, for people: `importing torch`, `building RobertaForMaskedLM`."""


class Loaded(NamedTuple):
    """The source is done."""

    model: Model
    """The table it made."""


class Failed(NamedTuple):
    """The source could not open its target."""

    line: str
    """`what: why; what would work`, already visible."""
    lost: bool = False
    """Whether what opened it is gone, killed or crashed: the same may work if it is tried again."""


Event = Stage | Loaded | Failed
"""What a source says while it opens."""


class Loading(Protocol):
    """An opening under way."""

    def events(self) -> Iterator[Event]:
        """Yield what happens, blocking between events; ends after `Loaded` or `Failed`, or at once after `cancel`."""

    def ask(self, request: str, arguments: Mapping[str, Any]) -> Any:
        """Ask what serves the open model, and wait for the answer; from any thread, after `Loaded`.

        Args:
            request: What is asked: `decay_names`, …; each source says what it answers.
            arguments: What JSON can hold.

        Returns:
            What JSON can hold, or bytes; `None` where the question does not apply to the model.

        Raises:
            ParamxError: Nothing is open, the source does not answer this, or it failed.
        """

    def lost(self) -> str | None:
        """Wait until what serves the open model is gone; return the line that says how. Called in a thread.

        Returns:
            The line; `None` after `cancel`, and at once where nothing can go by itself.
        """

    def cancel(self) -> None:
        """Stop at once, from any thread: a worker process is killed and reaped. Harmless when already over."""


class Opener(Protocol):
    """Starts openings; the interface is given one and knows no source."""

    def __call__(self, spec: OpenSpec) -> Loading:
        """Start to open `spec` and return at once."""


def wait_for_model(loading: Loading, target: str, tell: Callable[[str], None]) -> Model:
    """Wait for an opening and return its model.

    Args:
        loading: The opening.
        target: What is opened, for the error.
        tell: Called with the text of each stage as it begins.

    Raises:
        ParamxError: It can't be opened.
    """
    for event in loading.events():
        match event:
            case Stage(text):
                tell(text)
            case Loaded(model):
                return model
            case Failed(line):
                raise ParamxError("", line)
    raise ParamxError(target, "the worker ended without an answer", "try again")
