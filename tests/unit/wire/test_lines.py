"""JSON lines: what is not a message is refused with a reason, and errors cross with their class."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold import errors
from twofold.wire import lines


def test_request_and_reply_cross() -> None:
    number, body = lines.decode_request(lines.request(7, {"command": "state", "module": "ü"}))
    assert (number, body) == (7, {"command": "state", "module": "ü"})
    assert lines.decode_reply(lines.reply(7, {"modules": []}), 7) == {"modules": []}


@pytest.mark.parametrize(
    "error",
    [
        errors.CommandRefused("not now", "Wait."),
        errors.ConfigError("wrong", ""),
        errors.NodeUnreachable("b is silent"),
        errors.StartFailed("app ended", "Look."),
    ],
)
def test_an_error_is_the_same_on_the_other_side(error: errors.TwofoldError) -> None:
    with pytest.raises(type(error)) as caught:
        lines.decode_reply(lines.refusal(1, error), 1)
    assert (caught.value.sentence, caught.value.mend) == (error.sentence, error.mend)


def test_a_refusal_of_the_engine_crosses_as_a_sentence() -> None:
    refused = errors.MirrorRefused("stale_epoch", "epoch 3 is over")
    with pytest.raises(errors.TwofoldError, match="epoch 3 is over"):
        lines.decode_reply(lines.refusal(1, refused), 1)


def test_a_bug_tells_its_kind_and_no_insides() -> None:
    line = lines.refusal(1, KeyError("secret"))
    assert b"KeyError" in line
    assert b"secret" not in line


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"", "in the middle"),
        (b'{"id": 1', "in the middle"),
        (b"garbage\n", "not JSON"),
        (b"[1]\n", "not a JSON object"),
        (b'{"command": "state"}\n', "without a whole number"),
        (b'{"id": true, "command": "state"}\n', "without a whole number"),
        (b'{"id": 1}\n', "without a command"),
        (b'{"id": 1, "command": 5}\n', "without a command"),
        (b"[" * 100_000 + b"\n", "not JSON"),
        (b"x" * (lines.LINE_BYTES_MAX + 1) + b"\n", "more than"),
    ],
)
def test_what_is_no_request_is_refused_with_a_reason(line: bytes, reason: str) -> None:
    with pytest.raises(errors.PeerRefused, match=reason):
        lines.decode_request(line)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_refusal(data: bytes) -> None:
    try:
        lines.decode_request(data + b"\n")
    except errors.PeerRefused as e:
        assert str(e)


def test_an_answer_to_another_question_is_refused() -> None:
    with pytest.raises(errors.PeerRefused, match="another question"):
        lines.decode_reply(lines.reply(2, {}), 1)
