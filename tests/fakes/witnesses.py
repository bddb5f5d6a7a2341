"""The witnesses of the world, or the addresses that are pinged: who reaches them, what they ruled.

They decide with the product's own code; what is made up is only who can reach them.
"""

from __future__ import annotations

from twofold.machine.arbitration import NOBODY, Answer, Claim, decide, first_epoch, ruling
from twofold.machine.events import ClaimAnswered


class Witnesses:
    def __init__(self) -> None:
        self.stored = [NOBODY]  # what each has on its disk
        self.out_of_reach: set[str] = set()  # nodes that cannot reach any

    def rule(self, kind: str, asked: Claim, epoch: int) -> ClaimAnswered:
        """What the node hears that asked for `epoch`."""
        reached = asked.holder not in self.out_of_reach
        if kind == "ping":
            return ClaimAnswered(
                epoch, True if reached else None, text="" if reached else "no answer"
            )
        answers: list[Answer | None] = [None] * len(self.stored)
        if reached:
            decided = [decide(stored, asked) for stored in self.stored]
            self.stored = [answer.stored for answer in decided]
            answers = [*decided]
        said = ruling(asked, answers, len(self.stored))
        return ClaimAnswered(epoch, said.won, said.holder, first_epoch(said.term), said.text)
