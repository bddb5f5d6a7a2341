"""Values carry their unit; everything else is refused with an example."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twofold.config.units import (
    format_duration,
    format_size,
    parse_duration_s,
    parse_size_bytes,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("200ms", 0.2), ("3s", 3.0), ("1.5s", 1.5), ("5min", 300.0), ("24h", 86400.0), ("0", 0.0)],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("1MiB", 1048576), ("512KiB", 524288), ("2GB", 2 * 10**9)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size_bytes(text) == size


@pytest.mark.parametrize("bad", ["3", 3, 3.5, True, "", "3 parsec", "-3s", "s", "1e3s", "3S", None])
def test_bad_durations_are_refused_with_an_example(bad: object) -> None:
    with pytest.raises(ValueError, match="write a text such as"):
        parse_duration_s(bad)


@pytest.mark.parametrize("bad", ["1 m", 1048576, "1 mib", "MiB", "1,5MiB"])
def test_bad_sizes_are_refused_with_an_example(bad: object) -> None:
    with pytest.raises(ValueError, match="1MiB"):
        parse_size_bytes(bad)


@given(st.integers(0, 10**9))
def test_a_duration_survives_its_text(milliseconds: int) -> None:
    text = format_duration(milliseconds / 1000)
    assert round(parse_duration_s(text) * 1000) == milliseconds


@given(st.integers(0, 2**50))
def test_a_size_survives_its_text(size_bytes: int) -> None:
    assert parse_size_bytes(format_size(size_bytes)) == size_bytes
