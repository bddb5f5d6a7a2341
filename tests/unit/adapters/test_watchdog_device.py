"""The watchdog's conversation, with a file in the place of the device."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.adapters.watchdog_device import WatchdogDevice
from twofold.errors import MachineError


def test_it_is_armed_by_the_first_meal_and_let_go_in_order(tmp_path: Path) -> None:
    file = tmp_path / "watchdog"
    file.touch()
    device = WatchdogDevice(str(file))
    assert not device.armed and file.read_bytes() == b""
    device.feed()
    device.feed()
    assert device.armed and file.read_bytes() == b"11"
    device.disarm()
    device.disarm()
    assert not device.armed and file.read_bytes() == b"11V"
    device.feed()  # it can be armed again (the file is written from its beginning)
    assert device.armed
    device.disarm()


def test_none_there_is_a_sentence_with_a_mend(tmp_path: Path) -> None:
    device = WatchdogDevice(str(tmp_path / "none"))
    with pytest.raises(MachineError, match=r"cannot be armed: No such file.*softdog"):
        device.feed()
    assert not device.armed
    device.disarm()
