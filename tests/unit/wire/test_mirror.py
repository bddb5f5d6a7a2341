"""The engine's words, as docs/internals/interfaces.md has them."""

from __future__ import annotations

from typing import Any

import pytest

from twofold.errors import MirrorFailed, MirrorRefused
from twofold.machine.model import Relation
from twofold.wire import mirror

STATUS: dict[str, Any] = {
    "module": "files",
    "node": "a",
    "pid": 123,
    "version": "0.1.0",
    "role": "primary",
    "epoch": 4,
    "frozen": False,
    "freeze_reason": None,
    "alone": False,
    "link": "up",
    "link_silent_ms": 12,
    "refused": None,
    "peer_up_to_date": True,
    "up_to_date": True,
    "resync": {"as": "source", "bytes_done": 25, "bytes_total": 100},
    "generation": {
        "current": "00000000000000ab",
        "base": "0",
        "history": ["1"],
        "role": "primary",
        "clean": False,
        "sole": True,
        "sync_target": False,
        "outdated": False,
        "epoch": 4,
    },
    "failed": {"what": "io_error", "text": "the disk does not answer"},
}


def test_a_status_becomes_what_decisions_need() -> None:
    engine = mirror.engine_from(STATUS)
    assert (engine.role, engine.epoch, engine.link_up) == ("primary", 4, True)
    assert engine.link_silent_s == pytest.approx(0.012)
    assert engine.resync_percent == 25.0
    assert engine.failed == "io_error"
    assert engine.generation.sole and not engine.generation.blank


def test_what_is_no_status_is_refused() -> None:
    with pytest.raises(MirrorFailed, match="cannot be read"):
        mirror.engine_from({"role": "primary"})


def test_a_refusal_becomes_an_error_with_its_code() -> None:
    reply = {"id": 1, "ok": False, "error": {"code": "stale_epoch", "text": "epoch 3 is over"}}
    with pytest.raises(MirrorRefused, match="epoch 3 is over") as caught:
        mirror.checked(reply)
    assert caught.value.reason == "stale_epoch"


def test_relations() -> None:
    assert mirror.relation_of({"relation": "diverged"}) is Relation.DIVERGED
    with pytest.raises(MirrorFailed):
        mirror.relation_of({})


@pytest.mark.parametrize("line", [b"", b"nonsense\n", b"[1]\n"])
def test_a_line_that_is_no_message_is_refused(line: bytes) -> None:
    with pytest.raises(MirrorFailed):
        mirror.message(line)
