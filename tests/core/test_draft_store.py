"""Drafts come back after a session that ended badly, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import wait_for

from explorer.core import draft_store, grouping_file
from explorer.core.draft import Draft
from explorer.core.draft_store import DraftStore, drafts_folder
from explorer.core.rules import Grouping

TYPED = Draft(Grouping.classic(["bias", "re:norm\\.\\d+", "ünïcode"]))


@pytest.fixture
def dead(tmp_path: Path) -> Callable[[str, Draft], Path]:
    """Write a draft as a process that is no more."""

    def write(target: str, draft: Draft) -> Path:
        gone = subprocess.Popen([sys.executable, "-c", ""])
        gone.wait()
        mine = DraftStore(tmp_path)
        mine.keep(target, draft)
        wait_for(lambda: list(tmp_path.glob(f"*-{os.getpid()}-*.toml")))
        (path,) = tmp_path.glob(f"*-{os.getpid()}-*.toml")
        return path.rename(path.with_name(path.name.replace(f"-{os.getpid()}-", f"-{gone.pid}-")))

    return write


def test_the_groups_of_a_dead_session_come_back(tmp_path: Path, dead: Callable[[str, Draft], Path]) -> None:
    path = dead("gpt2", TYPED)
    assert DraftStore(tmp_path).left("gpt2").draft == TYPED
    assert DraftStore(tmp_path).left("gpt").draft is None
    assert path.exists(), "it is offered until a session ends well"
    assert path.stat().st_mode & 0o077 == 0, "what is typed is its owner's"


def test_what_is_half_typed_comes_back_as_it_was_typed(tmp_path: Path, dead: Callable[[str, Draft], Path]) -> None:
    fields = {0: ("no decay", "weight_decay=", "bias, re:(, ünï\u2028code\\n"), 1: ("", "lr=1e", "")}
    path = dead("gpt2", Draft(TYPED.grouping, fields))
    left = DraftStore(tmp_path).left("gpt2").draft
    assert left is not None
    assert left.grouping == TYPED.grouping
    assert left.fields == {**fields, 0: (*fields[0][:2], "bias, re:(, ünï\\u2028code\\n")}, "made visible"
    assert grouping_file.load(path) == TYPED.grouping, "to --groups it is a file of groups"
    text = path.read_text()
    for spoiled in ("[", "[1]", '{"9": ["a", "b", "c"]}', '{"0": ["a", 1, "c"]}', '{"0": "abc"}', "[" * 100_000):
        path.write_text(text.rpartition("# half typed: ")[0] + f"# half typed: {spoiled}\n")
        assert DraftStore(tmp_path).left("gpt2").draft == TYPED, "what is spoiled is left out"


def test_the_groups_of_a_living_session_are_left_alone(tmp_path: Path) -> None:
    mine = DraftStore(tmp_path)
    mine.keep("gpt2", TYPED)
    wait_for(lambda: list(tmp_path.glob("*.toml")))
    assert DraftStore(tmp_path).left("gpt2").draft is None
    DraftStore(tmp_path).clear()
    assert len(list(tmp_path.glob("*.toml"))) == 1


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("pid", [os.getpid(), 1], ids=["its own", "of a system's process"])
def test_a_draft_is_left_though_its_writers_number_is_anothers_by_now(
    pid: int, tmp_path: Path, dead: Callable[[str, Draft], Path]
) -> None:
    written = dead("gpt2", TYPED)
    target, machine, _, birth = written.stem.split("-")
    old = written.rename(tmp_path / f"{target}-{machine}-{pid}-{birth}0.toml")
    mine = DraftStore(tmp_path)
    mine.keep("gpt2", Draft(Grouping.classic(["x"])))
    wait_for(lambda: len(list(tmp_path.glob("*.toml"))) == 2)
    assert mine.left("gpt2").draft == TYPED, "what this session writes is beside it"
    assert old.exists()


def test_a_killed_session_is_no_more_before_its_parent_takes_notice(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from explorer.core.draft import Draft\n"
        "from explorer.core.draft_store import DraftStore; from explorer.core.rules import Grouping\n"
        "DraftStore(Path(sys.argv[1])).keep('gpt2', Draft(Grouping.classic(['typed']))); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)]) as session:
        try:
            wait_for(lambda: list(tmp_path.glob("*.toml")))
            assert DraftStore(tmp_path).left("gpt2").draft is None, "it is alive"
        finally:
            session.kill()
        os.waitid(os.P_PID, session.pid, os.WEXITED | os.WNOWAIT)
        assert DraftStore(tmp_path).left("gpt2").draft == Draft(Grouping.classic(["typed"]))


def test_without_proc_the_number_decides(
    tmp_path: Path, dead: Callable[[str, Draft], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draft_store, "_birth", lambda pid: "")
    mine = DraftStore(tmp_path)
    mine.keep("bert", TYPED)
    wait_for(lambda: list(tmp_path.glob("*.toml")))
    assert DraftStore(tmp_path).left("bert").draft is None
    mine.clear()
    dead("gpt2", TYPED)
    assert DraftStore(tmp_path).left("gpt2").draft == TYPED


def test_a_session_that_ends_well_leaves_nothing(tmp_path: Path, dead: Callable[[str, Draft], Path]) -> None:
    dead("gpt2", TYPED)
    other = dead("bert", TYPED)
    mine = DraftStore(tmp_path)
    assert mine.left("gpt2").draft == TYPED
    mine.keep("gpt2", Draft(Grouping.classic(["x"])))
    wait_for(lambda: len(list(tmp_path.glob("*.toml"))) == 3)
    mine.clear()
    assert list(tmp_path.iterdir()) == [other], "what was not offered stays"
    mine.keep("gpt2", TYPED)
    time.sleep(0.3)
    assert list(tmp_path.iterdir()) == [other], "nothing is written after the end"


def test_groups_as_at_the_start_are_not_kept(tmp_path: Path) -> None:
    mine = DraftStore(tmp_path)
    mine.keep("gpt2", TYPED)
    wait_for(lambda: list(tmp_path.glob("*.toml")))
    mine.keep("gpt2", None)
    wait_for(lambda: not list(tmp_path.iterdir()))


def test_a_path_is_the_same_wherever_it_is_named_from(
    tmp_path: Path, dead: Callable[[str, Draft], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "elsewhere" / "x.pt"
    file.parent.mkdir()
    file.touch()
    dead(str(file), TYPED)
    monkeypatch.chdir(file.parent)
    assert DraftStore(tmp_path).left("./x.pt").draft == TYPED
    assert DraftStore(tmp_path).left("x.pt").draft == TYPED


def test_spoiled_drafts_are_told_with_their_path_and_stay(tmp_path: Path, dead: Callable[[str, Draft], Path]) -> None:
    path = dead("gpt2", TYPED)

    def told(why: str) -> None:
        mine = DraftStore(tmp_path)
        left = mine.left("gpt2")
        assert left.draft is None
        assert left.damaged.startswith(str(path)) and why in left.damaged
        mine.clear()
        assert os.path.lexists(path), "somebody may mend it"

    for spoiled, why in (
        (b"", "no groups"),
        (b"\xff", "not UTF-8"),
        (b"x" * (grouping_file.MAX_BYTES + 1), "larger than"),
        (b"[[groups]]", "needs a name"),
        (b"a = '\x1b'", "not TOML"),
    ):
        path.write_bytes(spoiled)
        told(why)
    path.unlink()
    os.mkfifo(path)
    told("not a regular file")
    path.unlink()
    path.symlink_to(path)
    told("symbolic links")


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    for number in range(draft_store.MOST + 5):
        old = tmp_path / f"{number}.toml"
        old.touch()
        os.utime(old, (number, number))
    mine = DraftStore(tmp_path)
    mine.keep("gpt2", TYPED)
    wait_for(lambda: list(tmp_path.glob(f"*-{os.getpid()}-*.toml")))
    assert len(list(tmp_path.iterdir())) == draft_store.MOST
    assert not (tmp_path / "0.toml").exists()


def test_a_disk_that_takes_nothing_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    mine = DraftStore(tmp_path / "file" / "folder")
    told: list[str] = []
    mine.keep("gpt2", TYPED, told.append)
    wait_for(lambda: told)
    mine.keep("gpt2", Draft(Grouping.classic(["y"])), told.append)
    mine.settle()
    assert told == [f"{tmp_path}/file/folder: Not a directory"]
    assert mine.left("gpt2").draft is None
    mine.clear()


def test_what_can_not_be_written_as_toml_is_not_kept_and_told(tmp_path: Path) -> None:
    mine = DraftStore(tmp_path)
    told: list[str] = []
    mine.keep("gpt2", Draft(TYPED.grouping.with_options(0, {"foreach": None})), told.append)
    assert "can't be written as TOML" in told[0]
    assert not list(tmp_path.iterdir())


def test_they_lie_where_state_belongs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert drafts_folder() == tmp_path / "paramx" / "drafts"
    for ignored in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", ignored)
        assert drafts_folder() == Path.home() / ".local" / "state" / "paramx" / "drafts"
