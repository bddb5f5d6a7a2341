"""Everything a decision can have done in the world: a closed union of frozen records.

The order in a decision is a contract: every prefix of it must leave the cluster safe. An epoch of 0
in a rule is filled in by `step` with the next one. Sending the report to the peer is no action: the
driver does it at once whenever the report changes.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class EnsureEngine:
    """Start the engine process, or find the one that runs."""


@dataclass(frozen=True)
class BecomePrimary:
    alone: bool
    force: bool = False
    first: bool = False
    epoch: int = 0


@dataclass(frozen=True)
class BecomeSecondary:
    """`follow=False`: hand over and stand still. Who is about to stop begins no resync."""

    epoch: int = 0
    follow: bool = True


@dataclass(frozen=True)
class ContinueAlone:
    epoch: int = 0


@dataclass(frozen=True)
class Outdate:
    """Make durable that this copy is out of date, because the primary goes on without it.

    `alone` is the epoch in which it does so; a copy that has been let in again since is current.
    """

    epoch: int = 0
    alone: int = 0


@dataclass(frozen=True)
class ClaimEpoch:
    """Ask the arbiter for an epoch that the peer has not agreed to; the answer is an event."""

    epoch: int = 0
    again: bool = False  # an earlier question had no answer
    bound_s: float = 0.0


@dataclass(frozen=True)
class StopEngine:
    abort: bool = False


@dataclass(frozen=True)
class AskRelation:
    """Have the engine compare our generation with the peer's."""


@dataclass(frozen=True)
class HoldAddress:
    pass


@dataclass(frozen=True)
class ReleaseAddress:
    pass


@dataclass(frozen=True)
class AnnounceAddress:
    pass


@dataclass(frozen=True)
class StartApplication:
    side: str  # both, primary, second


@dataclass(frozen=True)
class StopApplication:
    side: str


Action = (
    EnsureEngine
    | BecomePrimary
    | BecomeSecondary
    | ContinueAlone
    | Outdate
    | ClaimEpoch
    | StopEngine
    | AskRelation
    | HoldAddress
    | ReleaseAddress
    | AnnounceAddress
    | StartApplication
    | StopApplication
)


NEEDS_MEMORY = (BecomePrimary, ContinueAlone, ClaimEpoch)
"""What is not carried out while the view cannot be written: an epoch that a crash makes a node
forget would be used twice. All else lets go, follows or stays; that a dead disk must not prevent.
"""


def label(action: Action) -> str:
    """Short text for the journal and the tables: `become_primary(alone, epoch 4)`."""
    match action:
        case EnsureEngine():
            return "ensure engine"
        case BecomePrimary(alone=alone, force=force, first=first, epoch=epoch):
            words = ["alone" if alone else "with the peer following"]
            words += ["forced"] if force else []
            words += ["first"] if first else []
            return f"become primary ({', '.join(words + _epoch(epoch))})"
        case BecomeSecondary(epoch=epoch, follow=follow):
            words = _epoch(epoch) + ([] if follow else ["not following"])
            return "become secondary" + (f" ({', '.join(words)})" if words else "")
        case ContinueAlone(epoch=epoch):
            return "continue alone" + "".join(f" ({e})" for e in _epoch(epoch))
        case Outdate(epoch=epoch):
            return "mark this copy outdated" + "".join(f" ({e})" for e in _epoch(epoch))
        case ClaimEpoch(epoch=epoch):
            return "claim" + "".join(f" ({e})" for e in _epoch(epoch))
        case StopEngine(abort=abort):
            return "abort engine" if abort else "stop engine"
        case AskRelation():
            return "compare generations"
        case HoldAddress():
            return "hold address"
        case ReleaseAddress():
            return "release address"
        case AnnounceAddress():
            return "announce address"
        case StartApplication(side=side):
            return f"start application ({side})"
        case StopApplication(side=side):
            return f"stop application ({side})"


def _epoch(epoch: int) -> list[str]:
    return [f"epoch {epoch}"] if epoch else []
