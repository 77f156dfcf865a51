"""A file that is written is whole; one that can't be leaves what stood there, and nothing beside it."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, NoReturn

import pytest

from explorer.core import saving
from explorer.core.errors import ParamxError
from explorer.core.saving import save_text

OLD, NEW = "what stood there\n", "groups = []\n# 名 – ×\n"


def failing(number: int) -> Any:
    def fail(*_: Any, **__: Any) -> NoReturn:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """A file that somebody needs."""
    path = tmp_path / "groups.py"
    path.write_text(OLD)
    return path


def only(path: Path) -> bool:
    """Whether nothing else lies beside it."""
    return [item.name for item in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_new_file_holds_the_text_as_utf_8(tmp_path: Path, overwrite: bool) -> None:
    path = tmp_path / "groups.py"
    save_text(path, NEW, overwrite=overwrite)
    assert path.read_bytes() == NEW.encode()
    assert only(path)


def test_a_file_that_stands_there_is_asked_about(there: Path) -> None:
    with pytest.raises(FileExistsError):
        save_text(there, NEW, overwrite=False)
    assert there.read_text() == OLD
    assert only(there)


def test_a_file_may_be_replaced_on_demand(there: Path) -> None:
    save_text(there, NEW, overwrite=True)
    assert there.read_text() == NEW
    assert only(there)


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize(
    ("place", "number"),
    [
        ("tempfile.mkstemp", errno.EROFS),
        ("os.fdopen", errno.EMFILE),
        ("os.fsync", errno.ENOSPC),
        ("os.fsync", errno.EIO),
        ("Path.chmod", errno.EPERM),
        ("Path.replace", errno.ENOSPC),
    ],
)
def test_a_failure_at_any_step_leaves_what_was_there_and_nothing_beside_it(
    there: Path, monkeypatch: pytest.MonkeyPatch, place: str, number: int, overwrite: bool
) -> None:
    if not overwrite:
        there.unlink()
    holder, name = place.split(".")
    monkeypatch.setattr(getattr(saving, holder), name, failing(number))
    with pytest.raises(ParamxError) as raised:
        save_text(there, NEW, overwrite=overwrite)
    assert os.strerror(number) in raised.value.line
    assert str(there) in raised.value.line
    monkeypatch.undo()
    assert [item.read_text() for item in there.parent.iterdir()] == [OLD] * overwrite


def test_a_file_that_appears_meanwhile_is_not_replaced(there: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    there.unlink()
    fsync = os.fsync

    def somebody_is_faster(handle: int) -> None:
        fsync(handle)
        there.write_text(OLD)

    monkeypatch.setattr(saving.os, "fsync", somebody_is_faster)
    with pytest.raises(FileExistsError):
        save_text(there, NEW, overwrite=False)
    assert there.read_text() == OLD
    assert only(there)


def test_a_symlink_stays_one_and_its_target_is_written(there: Path) -> None:
    link = there.parent / "link.py"
    link.symlink_to(there.name)
    with pytest.raises(FileExistsError):
        save_text(link, NEW, overwrite=False)
    save_text(link, NEW, overwrite=True)
    assert link.is_symlink()
    assert there.read_text() == NEW


def test_a_dangling_symlink_makes_its_target(tmp_path: Path) -> None:
    link = tmp_path / "link.py"
    link.symlink_to("target.py")
    save_text(link, NEW, overwrite=False)
    assert (tmp_path / "target.py").read_text() == NEW
    assert link.is_symlink()


def test_a_symlink_that_leads_to_itself_is_told(tmp_path: Path) -> None:
    link = tmp_path / "link.py"
    link.symlink_to("link.py")
    with pytest.raises((ParamxError, FileExistsError)):
        save_text(link, NEW, overwrite=False)
    assert link.is_symlink()


def test_the_longest_name_that_a_disk_takes_is_taken(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 252 + ".py")
    save_text(path, NEW, overwrite=False)
    assert path.read_text() == NEW


def test_the_permissions_of_a_replaced_file_stay(there: Path) -> None:
    there.chmod(0o640)
    save_text(there, NEW, overwrite=True)
    assert there.stat().st_mode & 0o777 == 0o640


def test_a_new_file_gets_what_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        save_text(tmp_path / "groups.py", NEW, overwrite=False)
        assert os.umask(0o027) == 0o027, "and the umask is as it was"
    finally:
        os.umask(before)
    assert (tmp_path / "groups.py").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("name", ["missing/groups.py", "a\0b.py", "x" * 300])
def test_a_path_that_can_not_be_is_told_in_one_line(tmp_path: Path, name: str) -> None:
    with pytest.raises(ParamxError) as raised:
        save_text(tmp_path / name, NEW, overwrite=False)
    assert "\n" not in raised.value.line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["gone/x/groups.py", "file/x/groups.py"])
def test_the_first_directory_that_is_missing_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text(OLD)
    with pytest.raises(ParamxError) as raised:
        save_text(Path(name), NEW, overwrite=False)
    assert raised.value.line.startswith(f"no directory {name.partition('/')[0]}: {name} can't be written")


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_directory_or_device_is_never_replaced(tmp_path: Path, overwrite: bool) -> None:
    for path in (tmp_path, Path(os.devnull)):
        with pytest.raises((ParamxError, FileExistsError)):
            save_text(path, NEW, overwrite=overwrite)
    assert tmp_path.is_dir()
    assert Path(os.devnull).is_char_device()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_told(there: Path) -> None:
    there.parent.chmod(0o500)
    try:
        with pytest.raises(ParamxError) as raised:
            save_text(there, NEW, overwrite=True)
        assert os.strerror(errno.EACCES) in raised.value.line
        assert there.read_text() == OLD
    finally:
        there.parent.chmod(0o700)
