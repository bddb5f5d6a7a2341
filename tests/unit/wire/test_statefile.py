"""What a module remembers comes back; a damaged memory is refused."""

from __future__ import annotations

import pytest

from twofold.errors import MachineError
from twofold.machine.model import Offer, View
from twofold.wire import statefile


def test_what_is_remembered_comes_back() -> None:
    view = View(wanted=True, epoch=9, offer=Offer.STOP, offer_epoch=9, peer_alone_epoch=4)
    read = statefile.decode(statefile.encode(view), View(now_s=5.0), "state.json")
    assert statefile.remembered(read) == statefile.remembered(view)
    assert read.now_s == 5.0


@pytest.mark.parametrize("text", [b"", b"{}", b"[]", b'{"version": 1}', b'{"version": 9}'])
def test_a_damaged_file_is_refused_in_a_sentence(text: bytes) -> None:
    with pytest.raises(MachineError, match=r"x/state\.json is damaged"):
        statefile.decode(text, View(), "x/state.json")
