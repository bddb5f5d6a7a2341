"""What the rules of ALONE, PRIM, SECOND and WAIT have in common when the nodes lose each other.

Whoever would go on without the peer's agreement asks the arbiter first (see `arbitration`); with
`arbitration = "none"` these rows never fit, and the rows below them decide alone.

A primary without a ruling stops serving, and says `undecided`: that it stopped is then no consent,
so the peer, too, needs a ruling to take over. It asks again until it hears the peer or is answered.
"""

from __future__ import annotations

from twofold.machine import guards as g
from twofold.machine import notes as n
from twofold.machine.actions import (
    BecomePrimary,
    ClaimEpoch,
    ContinueAlone,
    EnsureEngine,
    ReleaseAddress,
    StopApplication,
    StopEngine,
)
from twofold.machine.events import FACTS, ClaimAnswered
from twofold.machine.model import Job, State, Wish
from twofold.machine.rule import Answer, Rule, Severity
from twofold.machine.rules_stopped import SERVE_NOTES, START_PRIMARY

WAIT, ALONE, PRIM, SECOND = State.WAIT, State.ALONE, State.PRIM, State.SECOND
BOTH = (ALONE, PRIM)

# Frozen writes would keep the application from ending, so the engine goes before it.
LET_GO_FOR_GOOD = (
    ReleaseAddress(),
    StopEngine(abort=True),
    StopApplication("primary"),
    StopApplication("both"),
)
LET_GO = (*LET_GO_FOR_GOOD, EnsureEngine())
ASK = (ClaimEpoch(),)

# Of PRIM only: ALONE whose engine waits becomes PRIM first, or it would go on alone at each look
# until the engine has done so.
without_second = (g.second_gone | g.going_alone) & g.in_prim & g.engine_primary & g.alone_agreed

LOST_SECOND: tuple[Rule, ...] = (
    Rule(
        given=BOTH,
        on=FACTS,
        when=without_second & g.went_on & ~g.stop_wished,
        then=WAIT,
        job=Job.STEPPING_ASIDE,
        instead=True,
        do=LET_GO,
        sets=(n.wish(Wish.START), n.SWAP_DONE, n.NOT_ALONE),
        severity=Severity.ALARM,
        because="{peer} has served alone in the meantime, so {node} stops serving",
    ),
    Rule(
        given=BOTH,
        on=FACTS,
        when=without_second & g.went_on & g.stop_wished,
        then=WAIT,
        job=Job.FORCING,
        instead=True,
        do=LET_GO_FOR_GOOD,
        sets=(n.SWAP_DONE, n.NOT_ALONE),
        severity=Severity.ALARM,
        because="{peer} has served alone in the meantime, so {node} stops serving at once",
    ),
    Rule(
        given=BOTH,
        on=FACTS,
        when=without_second & g.arbitrated & g.won & ~g.peer_agrees,
        then=ALONE,
        do=(ContinueAlone(),),
        sets=(n.SWAP_DONE, n.NOT_ALONE),
        severity=Severity.ALARM,
        because="{peer} cannot be reached, and {arbiter} lets {node} go on, so it goes on alone",
    ),
    Rule(
        given=BOTH,
        on=FACTS,
        when=without_second & g.link_up & g.peer_marked,
        then=ALONE,
        do=(ContinueAlone(),),
        sets=(n.SWAP_DONE, n.NOT_ALONE),
        severity=Severity.ALARM,
        because="{peer} has marked its copy, so {node} goes on alone until it is copied again",
    ),
    Rule(
        given=BOTH,
        on=FACTS,
        when=without_second & (~g.arbitrated | g.peer_agrees),
        then=ALONE,
        do=(ContinueAlone(),),
        sets=(n.SWAP_DONE, n.NOT_ALONE),
        severity=Severity.ALARM,
        because="{peer} is gone or cannot be reached, so {node} goes on alone",
    ),
    Rule(
        given=BOTH,
        on=FACTS,
        when=without_second & g.arbitrated & g.overruled & ~g.stop_wished,
        then=WAIT,
        job=Job.STEPPING_ASIDE,
        instead=True,
        do=LET_GO,
        sets=(n.wish(Wish.START), n.SWAP_DONE, n.NOT_ALONE),
        severity=Severity.ALARM,
        because="{arbiter} gave the service to {peer}, so {node} stops serving",
    ),
    Rule(
        given=BOTH,
        on=FACTS,
        when=without_second & g.to_ask,
        do=ASK,
        sets=(n.ASK,),
        because="{peer} cannot be reached; {arbiter} is asked whether {node} may go on alone",
    ),
    Rule(
        given=BOTH,
        on=FACTS,
        when=without_second & g.arbitrated & g.no_ruling & ~g.stop_wished,
        then=WAIT,
        job=Job.STEPPING_ASIDE,
        instead=True,
        do=LET_GO,
        sets=(n.wish(Wish.START), n.SWAP_DONE, n.NOT_ALONE, n.UNDECIDED),
        severity=Severity.ALARM,
        because="{peer} cannot be reached and nobody can rule ({ruling}), so {node} stops serving",
    ),
)

LOST_PRIMARY: tuple[Rule, ...] = (
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.offering & g.served_since,
        sets=(n.NO_OFFER, n.NO_CLAIM),
        because="{peer} has taken the service over and gone on alone since",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.lost_to_me & g.to_ask & ~g.no_ruling,
        do=ASK,
        sets=(n.ASK,),
        because="{peer} is silent on all networks for {timeout}; {arbiter} is asked who may serve",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.lost_to_me & g.to_ask,
        do=ASK,
        sets=(n.ASK,),
        severity=Severity.QUIET,
        because="{arbiter} is asked again who may serve",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.lost_to_me & g.arbitrated & g.no_ruling & ~g.no_ruling_said,
        sets=(n.NO_RULING_SAID,),
        severity=Severity.ALARM,
        because="{peer} is lost, but nobody can rule ({ruling}), so {node} must not take over",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.lost_to_me & ~g.stood_down & ~g.busy,
        severity=Severity.QUIET,
        because="waiting for the ruling",
    ),
)

BEGIN_ALONE: tuple[Rule, ...] = (
    Rule(
        given=(WAIT,),
        on=(ClaimAnswered,),
        when=g.peer_silent & g.overruled & ~g.wished(Wish.PRIM, Wish.PRIM_FORCED),
        severity=Severity.ALARM,
        because="{arbiter} gave the service to {peer}, so {node} waits for it",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.peer_silent & g.arbitrated & g.overruled & g.wished(Wish.PRIM),
        sets=(n.wish(Wish.START), n.NO_CLAIM),
        answer=Answer.REFUSE_UNLESS_FORCED,
        because="prim refused: {arbiter} gave the service to {peer}; "
        "`twofold prim --yes` serves here all the same",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.peer_silent & g.asks_to_begin & g.to_ask,
        do=ASK,
        sets=(n.ASK,),
        severity=Severity.QUIET,
        because="{peer} is silent; {arbiter} is asked whether {node} may serve",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.peer_silent & g.arbitrated & g.no_ruling & g.wished(Wish.PRIM),
        sets=(n.wish(Wish.START), n.NO_CLAIM, n.NO_RULING_SAID),
        answer=Answer.REFUSE_UNLESS_FORCED,
        severity=Severity.ALARM,
        because="prim refused: nobody can rule ({ruling}); "
        "`twofold prim --yes` serves here all the same",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.peer_silent
        & g.asks_to_begin
        & g.no_ruling
        & ~g.no_ruling_said
        & ~g.wished(Wish.PRIM_FORCED),
        sets=(n.NO_RULING_SAID,),
        severity=Severity.ALARM,
        because="{peer} is silent and nobody can rule ({ruling}), so {node} must not serve",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.wished(Wish.START) & g.resumes & g.peer_silent & g.won,
        then=ALONE,
        job=Job.SERVING,
        do=(BecomePrimary(alone=True, force=True), *START_PRIMARY),
        sets=SERVE_NOTES,
        severity=Severity.ALARM,
        because="{arbiter} answers again and lets {node}, which served before, go on alone",
    ),
)
