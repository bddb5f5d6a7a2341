"""What a person switched off stays so, over restarts, until it is switched back."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.daemon.switches import (
    ALL,
    Switches,
    SwitchFile,
    switched,
    switched_checker,
)
from twofold.errors import CommandRefused
from twofold.machine.model import Settings

KNOWN = ("web", "db")


@pytest.mark.parametrize(
    ("before", "name", "on", "after"),
    [
        (set[str](), "web", False, {"web"}),
        ({"web"}, "web", True, set[str]()),
        ({"web"}, "db", True, {"web"}),
        ({"web"}, ALL, False, {ALL}),
        ({ALL}, ALL, True, set[str]()),
        ({"web", "db"}, ALL, True, set[str]()),
        ({ALL}, "web", True, {"db"}),  # all but this one stay off
    ],
)
def test_checkers(before: set[str], name: str, on: bool, after: set[str]) -> None:
    result = switched_checker(Switches(frozenset(before)), name, on, KNOWN)
    assert result.checkers_off == after


@pytest.mark.parametrize(
    ("on", "configured", "switch"),
    [(False, True, False), (True, True, None), (True, False, True), (False, False, None)],
)
def test_back_to_what_is_configured_is_no_switch(
    on: bool, configured: bool, switch: bool | None
) -> None:
    before = Switches(failover=not on, boot=not on)
    assert switched(before, "failover", on, configured).failover is switch
    assert switched(before, "boot", on, configured).boot is switch


def test_over_the_settings() -> None:
    assert Switches(failover=False).over(Settings(failover=True)).failover is False
    assert Switches().over(Settings(failover=True)).failover is True


def test_an_unknown_switch_is_refused() -> None:
    with pytest.raises(CommandRefused, match="there is no switch 'resync'"):
        switched(Switches(), "resync", True, True)


async def test_remembered(tmp_path: Path) -> None:
    file = SwitchFile(tmp_path)
    assert file.read() == Switches()
    switches = Switches(frozenset({"web"}), failover=False, boot=True)
    await file.write(switches)
    assert SwitchFile(tmp_path).read() == switches


@pytest.mark.parametrize("text", ["", "{", "[]", "7", '{"failover": "yes", "checkers_off": [1]}'])
def test_a_broken_file_switches_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "switches.json").write_text(text)
    found = SwitchFile(tmp_path).read()
    assert (found.failover, found.boot) == (None, None)
