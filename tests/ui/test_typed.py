"""A flood of what is typed: what quits is handed over soon, the rest in its order."""

from __future__ import annotations

import os
import pty

import pytest
from textual.events import Paste

from explorer.ui import typed
from explorer.ui.driver import LenientDriver
from explorer.ui.key_order import KeyOrderApp
from explorer.ui.keyboard import Cut
from explorer.ui.typed import AT_A_TIME, MOST, Typed


class Taker(KeyOrderApp[None]):
    """Takes what is handed over, and is slow to look at it."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[Cut] = []
        self.longest = self.left = 0

    def leave_soon(self) -> None:
        self.left += 1

    def on_mount(self) -> None:
        assert self._loop is not None
        self.typed = Typed(self, self._loop, self._take)

    def _take(self, cut: Cut, _: float) -> None:
        self.got.append(cut)
        self.post_message(Paste(str(cut)))
        self.longest = max(self.longest, self.message_queue_size)


QUIT = ["\x03", "\x11", "\x1b\x03", "\x1b[99;5u", "\x1b[113;5u", "\x1b[99;69u", "\x1b[113:81;133;3u"]


async def taken(*reads: list[Cut]) -> Taker:
    app = Taker()
    async with app.run_test() as pilot:
        await pilot.pause()
        for cuts in reads:
            app.typed.put(cuts)
        while app.typed._waiting:
            await pilot.pause(0.01)
        assert app.typed._later is None or not app.typed._waiting
    return app


@pytest.mark.parametrize("quits", QUIT)
async def test_what_quits_overtakes_what_would_keep_it(quits: str) -> None:
    flood: list[Cut] = ["j"] * 1000
    app = await taken([*flood, quits, "k"])
    assert app.got.index(quits) <= AT_A_TIME
    assert [cut for cut in app.got if cut != quits] == [*flood, "k"]
    assert app.longest <= 2 * AT_A_TIME, "nor does it wait in the app's queue"
    assert app.left == 1, "if the loop hangs, the program ends all the same"


@pytest.mark.parametrize(
    "key", ["\x1b[99u", "\x1b[99;1u", "\x1b[99;2u", "\x1b[99;7u", "\x1b[99;1234567890u", "q", "\x1b"]
)
async def test_other_keys_keep_their_order(key: str) -> None:
    cuts: list[Cut] = [*"jkl" * 20, key, "m"]
    assert (await taken(cuts)).got == cuts


async def test_what_is_typed_ahead_of_a_key_that_quits_comes_first() -> None:
    cuts: list[Cut] = ["/", *"bias", "\r", "w", "\x11"]
    assert (await taken(cuts)).got == cuts


async def test_only_the_last_place_of_a_moved_mouse_matters() -> None:
    def moved(buttons: int, *columns: int) -> list[Cut]:
        return [f"\x1b[<{buttons};{column};3M" for column in columns]

    press, release, wheel = "\x1b[<0;9;3M", "\x1b[<0;9;3m", "\x1b[<65;9;3M"
    app = await taken([*moved(35, 1, 2, 9), press, *moved(32, 8, 7), *moved(35, 7, 6), release, wheel, wheel, wheel])
    assert app.got == [
        *moved(35, 9),
        press,
        *moved(32, 7),
        *moved(35, 6),
        release,
        wheel,
        wheel,
        wheel,
    ]


async def test_what_waits_is_bounded_but_for_what_quits(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST > 50_000
    monkeypatch.setattr(typed, "MOST", 100)
    app = await taken(["j"] * 150, ["\x03"])
    assert app.got.count("j") == 100
    assert app.got.count("\x03") == 1


async def test_the_keyboard_is_read_without_waiting_and_the_shell_s_reads_still_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ours, theirs = pty.openpty()
    driver = LenientDriver.__new__(LenientDriver)
    driver.fileno = theirs
    with driver._reading() as fileno:
        with pytest.raises(BlockingIOError):
            os.read(fileno, 1)
        assert os.get_blocking(theirs)
        os.write(ours, b"x\n")
        assert os.read(fileno, 4) == b"x\n"
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fileno)
    os.fstat(theirs)
    monkeypatch.setattr(os, "ttyname", lambda _: (_ for _ in ()).throw(OSError(19, "No such device")))
    with driver._reading() as fileno:
        assert fileno == theirs, "better than nothing"
    for descriptor in (ours, theirs):
        os.close(descriptor)
