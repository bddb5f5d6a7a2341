"""A token is whole or refused, and proves knowledge without showing the secret."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.errors import OperatorError
from twofold.wire.token import Token, decode_token, encode_token, fingerprint_of, proof, proven

TOKEN = Token(bytes(range(10)), fingerprint_of(b"a certificate"))
REQUEST = {"command": "join", "node": "b", "csr": "...", "addresses": {"lan": "10.0.0.2"}}


def test_a_token_survives_its_text_and_a_careless_copy() -> None:
    text = encode_token(TOKEN)
    assert decode_token(text) == TOKEN
    assert decode_token(f"  {text.upper()}\n") == TOKEN
    assert decode_token(text.replace("-", "")) == TOKEN


@given(st.integers(0, 52), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_one_wrong_character_is_noticed(at: int, character: str) -> None:
    text = encode_token(TOKEN)
    wrong = text[:at] + character + text[at + 1 :]
    if wrong != text and text[at] != "-":
        with pytest.raises(OperatorError, match="not a whole join token"):
            decode_token(wrong)


@given(st.text(max_size=80))
def test_any_text_is_a_token_or_a_sentence(text: str) -> None:
    with pytest.raises(OperatorError):
        decode_token(text)


def test_the_proof_covers_the_whole_request() -> None:
    signed = {**REQUEST, "proof": proof(TOKEN.secret, REQUEST)}
    assert proven(TOKEN.secret, signed)
    assert not proven(b"x" * 10, signed)
    assert not proven(TOKEN.secret, {**signed, "node": "c"})
    assert not proven(TOKEN.secret, {**signed, "extra": 1})
    assert not proven(TOKEN.secret, REQUEST)
    assert not proven(TOKEN.secret, {**REQUEST, "proof": 5})


def test_the_request_does_not_show_the_secret() -> None:
    assert TOKEN.secret.hex() not in TOKEN.id
    assert TOKEN.secret.hex() not in proof(TOKEN.secret, REQUEST)
