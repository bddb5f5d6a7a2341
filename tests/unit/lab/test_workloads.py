"""The verdict over keys: what counts as lost, what as gone back, and what is fair."""

from __future__ import annotations

from twofold.lab.workloads import judge_keys
from twofold.lab.writers import Fact


def ack(number: int, key: str, value: str, revision: int) -> Fact:
    return {"ack": number, "key": key, "value": value, "revision": revision}


def answer(revision: int, **keys: list[object]) -> Fact:
    return {"at": "x", "revision": revision, "keys": {f"/{k}": v for k, v in keys.items()}}


def test_everything_is_there() -> None:
    facts = [ack(1, "/k", "v1", 5), ack(2, "/k", "v2", 7)]
    assert judge_keys(facts, answer(7, k=["v2", 7])) == ([], [])


def test_a_missing_key_and_an_older_revision_are_lost() -> None:
    facts = [ack(1, "/k", "v1", 5), ack(2, "/k", "v2", 7), ack(3, "/gone", "x", 6)]
    lost, back = judge_keys(facts, answer(7, k=["v1", 5]))
    assert [each.split(":")[0] for each in lost] == ["/k at revision 7", "/gone at revision 6"]
    assert back == []


def test_the_same_revision_with_another_value_is_a_loss() -> None:
    """Two histories: the acknowledged one was replaced by another with the same numbers."""
    lost, _ = judge_keys([ack(1, "/k", "v1", 5)], answer(9, k=["other", 5]))
    assert len(lost) == 1


def test_a_later_attempt_of_unknown_fate_is_fair() -> None:
    facts: list[Fact] = [ack(1, "/k", "v1", 5), {"maybe": "/k", "value": "v2"}]
    assert judge_keys(facts, answer(6, k=["v2", 6])) == ([], [])
    lost, _ = judge_keys(facts, answer(6, k=["never written", 6]))
    assert len(lost) == 1


def test_a_counter_below_what_was_acknowledged_went_back() -> None:
    _, back = judge_keys([ack(1, "/k", "v1", 50)], answer(49, k=["v1", 50]))
    assert back == [{"back": {"by": "end", "revision": 49, "highest": 50}}]
