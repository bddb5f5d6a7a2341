"""Who may become primary: the truth table of interfaces.md, "Generation, and who may be primary".

Asked in WAIT, when nobody is known to serve. Both nodes ask it about the same two generations and
must come to opposite answers; that is what makes a start in any order safe.
"""

from __future__ import annotations

from enum import Enum

from twofold.machine.links import peer_heard
from twofold.machine.model import Generation, Relation, View


class Standing(Enum):
    """The value completes "this node ..."."""

    MAY_SERVE = "has the newest data"
    NO_ENGINE = "does not know its data yet: the engine is not running"
    NO_DATA = "has no data yet"
    HALF_COPY = "has an unfinished copy: a resync into it did not end"
    OUTDATED = "has old data: the other node went on without it"
    NOT_SURE = "cannot know whether the other node has newer data"
    COMPARING = "is comparing its data with the other node's"
    OLDER = "has older data than the other node"
    OTHERS_TURN = "has the same data as the other node, whose turn it is"
    BOTH_WENT_ON = "and the other node both went on alone: their data differs"
    STRANGERS = "has data that has nothing in common with the other node's"


def standing(view: View) -> Standing:
    """Whether this node may become primary by itself, or why not."""
    if view.engine is None:
        return Standing.NO_ENGINE
    mine = view.engine.generation
    theirs = view.peer.generation if peer_heard(view) and view.peer else None
    if theirs is not None and view.relation is None:
        return Standing.COMPARING
    if mine.blank:
        return Standing.NO_DATA
    if mine.sync_target:
        return Standing.HALF_COPY
    if theirs is None or view.relation is None:
        return _by_itself(mine)
    return _compared(view, mine, theirs, view.relation)


def _by_itself(mine: Generation) -> Standing:
    if mine.outdated:
        return Standing.OUTDATED
    return Standing.MAY_SERVE if mine.sole else Standing.NOT_SURE


def _compared(view: View, mine: Generation, theirs: Generation, relation: Relation) -> Standing:
    match relation:
        case Relation.EQUAL:
            mine_first = _first_of_equals(view, mine, theirs)
            return Standing.MAY_SERVE if mine_first else Standing.OTHERS_TURN
        case Relation.MINE_NEWER | Relation.THEIRS_BLANK:
            return Standing.MAY_SERVE
        case Relation.THEIRS_NEWER:
            # A newer copy that is only half there cannot serve either: then nobody may.
            return Standing.OLDER
        case Relation.MINE_BLANK | Relation.BOTH_BLANK:
            return Standing.NO_DATA
        case Relation.DIVERGED:
            return Standing.BOTH_WENT_ON
        case Relation.UNRELATED:
            return Standing.STRANGERS


def _first_of_equals(view: View, mine: Generation, theirs: Generation) -> bool:
    """Whose copy may hold what the other lacks; where nothing can be lost, who can serve better.

    A copy that a crash cut short may lack the last writes, which a whole one of the same generation
    has, even one that is marked as outdated: whoever writes alone begins another generation first.
    """
    if theirs.sync_target:
        return True
    whole_mine = view.engine is None or view.engine.trusted
    whole_theirs = view.peer is None or view.peer.trusted
    both_whole = whole_mine and whole_theirs
    well_mine = both_whole and not view.unwell
    well_theirs = both_whole and (view.peer is None or not view.peer.unwell)
    last_mine = (mine.role == "primary", mine.epoch)
    last_theirs = (theirs.role == "primary", theirs.epoch)
    rank_mine = (whole_mine, not mine.outdated, well_mine, *last_mine)
    rank_theirs = (whole_theirs, not theirs.outdated, well_theirs, *last_theirs)
    if rank_mine != rank_theirs:
        return rank_mine > rank_theirs
    return view.settings.node < view.settings.peer


PERMITTED_FOR_PRIM = frozenset({Standing.MAY_SERVE, Standing.OTHERS_TURN})


def prim_permitted(view: View) -> bool:
    """A person says this node has the good data, and nothing we know speaks against it."""
    answer = standing(view)
    if answer is Standing.NO_DATA:
        theirs = view.peer.generation if peer_heard(view) and view.peer else None
        return theirs is None or theirs.blank
    return answer in PERMITTED_FOR_PRIM
