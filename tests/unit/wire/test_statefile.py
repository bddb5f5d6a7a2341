"""What a module remembers comes back; a damaged memory is refused."""

from __future__ import annotations

import pytest

from twofold.errors import MachineError
from twofold.machine.model import Offer, View, recently_failed
from twofold.machine.verdicts import recent
from twofold.wire import statefile


def test_what_is_remembered_comes_back() -> None:
    view = View(wanted=True, epoch=9, offer=Offer.STOP, offer_epoch=9, peer_alone_epoch=4)
    read = statefile.decode(statefile.encode(view, 1e9), View(now_s=5.0), "state.json", 1e9)
    assert statefile.remembered(read) == statefile.remembered(view)
    assert read.now_s == 5.0


FAILED = View(now_s=5000.0, loops_s=(4000.0, 4990.0), failed_at_s=4990.0)


@pytest.mark.parametrize("now_s", [5020.0, 3.0], ids=["the daemon restarts", "the machine boots"])
def test_failures_are_as_old_as_they_are_whatever_the_clock_begins_with(now_s: float) -> None:
    text = statefile.encode(FAILED, 1e9)
    read = statefile.decode(text, View(now_s=now_s), "state.json", 1e9 + 20)
    assert [now_s - at for at in read.loops_s] == pytest.approx([1020, 30])
    assert recent(read.loops_s, now_s, 100.0) == read.loops_s[1:]
    assert recently_failed(read)
    later = statefile.decode(text, View(now_s=now_s), "state.json", 1e9 + 4000)
    assert not recently_failed(later)


def test_a_calendar_that_was_set_back_makes_a_failure_new_and_never_one_to_come() -> None:
    read = statefile.decode(statefile.encode(FAILED, 1e9), View(now_s=3.0), "state.json", 0.0)
    assert read.loops_s == (3.0, 3.0)
    assert read.failed_at_s == 3.0


def test_a_file_of_an_earlier_version_has_no_failures() -> None:
    old = b'{"version": 1, "wanted": true, "epoch": 3, "offer": null, "offer_epoch": 0, '
    old += b'"took_over": false, "peer_alone_epoch": 0, "synced_epoch": 1, "failovers": 0}'
    read = statefile.decode(old, View(now_s=3.0), "state.json", 1e9)
    assert (read.epoch, read.loops_s, read.failed_at_s) == (3, (), None)


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"version": 1}', b'{"version": 9}'])
def test_a_damaged_file_is_refused_in_a_sentence(text: bytes) -> None:
    with pytest.raises(MachineError, match=r"x/state\.json is damaged"):
        statefile.decode(text, View(), "x/state.json", 0.0)


@pytest.mark.parametrize("moments", ['"loops_at": 7', '"failed_at": [1]', '"loops_at": ["x"]'])
def test_damaged_moments_are_refused_as_well(moments: str) -> None:
    whole = statefile.encode(View(), 0.0).decode().rstrip().rstrip("}")
    with pytest.raises(MachineError, match="damaged"):
        statefile.decode(f"{whole}, {moments}}}".encode(), View(), "state.json", 0.0)
