"""An address is announced soon again, and then every ten seconds."""

from __future__ import annotations

from itertools import accumulate, islice

from twofold.adapters.address.announce import repeat_gaps_s


def test_repeated_at_200_ms_1_s_3_s_and_every_ten_seconds() -> None:
    moments = list(accumulate(islice(repeat_gaps_s(), 5)))
    assert [round(moment, 3) for moment in moments] == [0.2, 1.0, 3.0, 13.0, 23.0]
