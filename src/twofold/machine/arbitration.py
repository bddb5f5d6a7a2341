"""Who may go on when two nodes lose each other: terms, and who claimed which.

With a witness an epoch has two parts: `epoch = term * TERM_EPOCHS + n`. A *term* is claimed at the
witness: whoever is the first to claim the term after the one both nodes know has it, for ever. No
clock takes part, and no lease ends. `n` counts what the two nodes agree on between themselves (a
swap, an orderly stop) and needs no witness. So an epoch that was claimed and one that was agreed on
are never the same, and a later claim is higher than whatever was agreed on before it.

A node claims only the term after the highest it knows. Every term it knows was claimed before, so
a node that missed something claims a term that is taken, and is told so. To the same end it claims
the highest it knows, and no higher, while the other says that it won that and may still use it.

All here is pure: the witness service, the etcd client and the simulation decide with `decide`, and
a node counts the answers of several witnesses with `ruling`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

TERM_EPOCHS = 1_000_000
STAND_DOWN_S = 0.5
"""A secondary that has won waits this long: a primary that lost stops serving meanwhile."""


@dataclass(frozen=True)
class Claim:
    """What a witness has on disk for one module of one cluster: the last term, and whose it is."""

    term: int
    holder: str


NOBODY = Claim(0, "")


@dataclass(frozen=True)
class Answer:
    """A witness's answer: whether the claim stands, and what is on its disk now."""

    won: bool
    stored: Claim


@dataclass(frozen=True)
class Ruling:
    """What all answers together mean. `won` is None while nobody can know: no majority answered."""

    won: bool | None
    holder: str = ""
    term: int = 0
    text: str = ""


def term_of(epoch: int) -> int:
    return epoch // TERM_EPOCHS


def first_epoch(term: int) -> int:
    return term * TERM_EPOCHS


def decide(stored: Claim, asked: Claim) -> Answer:
    """Compare and set. The same node may ask again: its answer may have been lost."""
    if asked.term > stored.term:
        return Answer(True, asked)
    return Answer(asked == stored, stored)


def majority(total: int) -> int:
    return total // 2 + 1


def ruling(asked: Claim, answers: Sequence[Answer | None], total: int) -> Ruling:
    """Won with a majority; lost when another node has one; else nobody knows (None: no answer)."""
    needed = majority(total)
    heard = [a for a in answers if a is not None]
    if sum(a.won for a in heard) >= needed:
        return Ruling(True, asked.holder, asked.term)
    held = [a.stored for a in heard if not a.won]
    for claim in sorted(set(held), key=lambda c: -c.term):
        if sum(c.term >= claim.term for c in held) >= needed:
            return Ruling(False, claim.holder, claim.term)
    if held:
        top = max(held, key=lambda c: c.term)
        return Ruling(
            None, text=f"{top.holder} has claimed a part of the witnesses, and the rest is silent"
        )
    return Ruling(None, text=f"{len(heard)} of {total} witnesses answered, {needed} are needed")
