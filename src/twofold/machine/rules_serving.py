"""ALONE and PRIM: keep serving, hand over, give up, stop.

Order contracts: to serve is engine first, then address, then application; to leave is application,
address, engine. Who has lost its epoch lets go of the address first. A hand-over is offered (see
`Offer`) only when the engine has handed over, so the application never runs on both sides.
"""

from __future__ import annotations

from twofold.machine import guards as g
from twofold.machine import notes as n
from twofold.machine.actions import (
    AnnounceAddress,
    BecomePrimary,
    BecomeSecondary,
    ContinueAlone,
    EnsureEngine,
    ReleaseAddress,
    StopApplication,
    StopEngine,
)
from twofold.machine.events import (
    FACTS,
    AsideFailed,
    CheckerTripped,
    EngineChanged,
    PrimAsked,
    RestartAsked,
    SecondAsked,
    ServiceExited,
    StartAsked,
    StopAsked,
    SwapAsked,
)
from twofold.machine.model import Job, Wish
from twofold.machine.rule import Answer, Rule, Severity
from twofold.machine.rules_arbitration import LOST_SECOND
from twofold.machine.rules_handover import (
    ALONE,
    BOTH,
    FORCE,
    HAND_OVER,
    HAND_OVER_TO_STOP,
    PRIM,
    RESTART,
    SERVING_JOBS,
    STOP_HERE,
    WAIT,
)
from twofold.machine.rules_stopped import START_PRIMARY

# A service that ends within a job that starts it is looked after when the job has ended: until then
# it may still be the old one, which was being stopped.
SPLIT: tuple[Rule, ...] = (
    Rule(
        given=BOTH,
        on=FACTS,
        when=g.other_wins & ~g.stop_wished,
        then=WAIT,
        job=Job.STEPPING_ASIDE,
        instead=True,
        do=(ReleaseAddress(), StopApplication("primary"), BecomeSecondary()),
        sets=(n.wish(Wish.START), n.SWAP_DONE),
        severity=Severity.ALARM,
        because="both nodes served; {peer} has precedence, so {node} gives up and follows it",
    ),
    Rule(
        given=BOTH,
        on=FACTS,
        when=g.both_serve & ~g.split_seen & ~g.other_wins & ~g.listening,
        do=(AnnounceAddress(),),
        sets=(n.SPLIT_SEEN,),
        severity=Severity.ALARM,
        because="both nodes served; {node} has precedence and stays, {peer} must give up",
    ),
)

GOING_ALONE: tuple[Rule, ...] = (
    *LOST_SECOND,
    Rule(
        given=(PRIM,),
        on=FACTS,
        when=g.second_gone & g.engine_primary & ~g.going_alone & ~g.alone_agreed,
        sets=(n.ANNOUNCE_ALONE,),
        because="the link to {peer} is lost; {peer} is told before {node} goes on alone",
    ),
    Rule(
        given=(PRIM,),
        on=FACTS,
        # The arbiter gave this node an epoch, and the two met again before it was used. No mark is
        # taken back: the copy is made again, and that needs an end of this session.
        when=g.marked_for_nothing & g.engine_primary & ~g.going_alone & ~g.busy,
        sets=(n.ANNOUNCE_ALONE,),
        severity=Severity.ALARM,
        because="{peer} holds its copy for out of date, and {node} has not gone on alone: "
        "it is to be copied again",
    ),
    Rule(
        given=BOTH,
        on=(AsideFailed,),
        when=g.alone_refused,
        then=WAIT,
        job=Job.STEPPING_ASIDE,
        instead=True,
        # Its writes wait, and would keep the application from ending: the engine goes before it.
        do=(ReleaseAddress(), StopEngine(abort=True), StopApplication("primary")),
        sets=(n.REST, n.COUNT_LOOP),
        severity=Severity.ALARM,
        because="the engine may not go on alone ({text}), so {node} stops serving",
    ),
)

SERVING_ASKED: tuple[Rule, ...] = (
    Rule(
        given=BOTH,
        on=(StartAsked, PrimAsked),
        when=~g.stop_wished,
        answer=Answer.ACCEPT,
        because="{node} serves already",
    ),
    Rule(
        given=BOTH,
        on=(SecondAsked,),
        answer=Answer.REFUSE,
        because="{node} serves; use `twofold swap` to move the service to {peer}",
    ),
    Rule(
        given=BOTH,
        on=(StopAsked,),
        when=g.doing(Job.HANDING_OVER),
        answer=Answer.REFUSE,
        because="not possible now: {node} is {job}; try again when that has ended",
    ),
    Rule(
        given=BOTH,
        on=(StopAsked,),
        when=g.second_able & ~g.failover_on,
        then=PRIM,
        job=Job.HANDING_OVER,
        instead=True,
        do=HAND_OVER_TO_STOP,
        sets=(n.UNWANTED, n.wish(Wish.STOP)),
        answer=Answer.ACCEPT,
        because="{by} asked for a stop; {peer} gets everything, and does not take over by itself",
    ),
    Rule(
        given=BOTH,
        on=(StopAsked,),
        when=g.second_able,
        then=PRIM,
        job=Job.HANDING_OVER,
        instead=True,
        do=HAND_OVER_TO_STOP,
        sets=(n.UNWANTED, n.wish(Wish.STOP)),
        answer=Answer.ACCEPT,
        because="{by} asked for a stop; {peer} takes over as soon as the application is stopped",
    ),
    Rule(
        given=BOTH,
        on=(StopAsked,),
        then=WAIT,
        job=Job.STOPPING,
        instead=True,
        do=STOP_HERE,
        sets=(n.UNWANTED, n.wish(Wish.STOP)),
        answer=Answer.ACCEPT,
        because="{by} asked for a stop; nobody can take over, so the service ends",
    ),
    Rule(
        given=BOTH,
        on=(SwapAsked,),
        when=g.second_able,
        then=PRIM,
        job=Job.HANDING_OVER,
        do=HAND_OVER,
        sets=(n.FRESH_LOOPS,),
        answer=Answer.ACCEPT,
        because="{by} asked for a swap: the application stops here, then starts on {peer}",
    ),
    Rule(
        given=BOTH,
        on=(SwapAsked,),
        when=~g.busy,
        answer=Answer.REFUSE,
        because="swap refused: {peer} is not an up-to-date SECOND that may serve; "
        "`twofold state` says why",
    ),
    Rule(
        given=BOTH,
        on=(RestartAsked,),
        job=Job.RESTARTING,
        do=RESTART,
        sets=(n.FRESH_LOOPS,),
        answer=Answer.ACCEPT,
        because="{by} asked for a restart of the application",
    ),
)

FAILURES: tuple[Rule, ...] = (
    Rule(
        given=BOTH,
        on=(CheckerTripped,),
        when=g.tripped_none,
        severity=Severity.ALARM,
        because="{what} failed ({text}); its action is none",
    ),
    Rule(
        given=BOTH,
        on=(CheckerTripped,),
        when=g.tripped_stop,
        then=WAIT,
        job=Job.STOPPING,
        do=STOP_HERE,
        sets=(n.FAILED_HERE, n.wish(Wish.STOP)),
        severity=Severity.ALARM,
        because="{what} failed ({text}); its action is stop",
    ),
    Rule(
        given=BOTH,
        on=(CheckerTripped,),
        when=g.tripped_failover & g.may_move & ~g.peer_failed & ~g.loops_spent,
        then=PRIM,
        job=Job.HANDING_OVER,
        do=HAND_OVER,
        sets=(n.FAILED_HERE, n.COUNT_LOOP),
        severity=Severity.ALARM,
        because="{what} failed ({text}), so {peer} takes over",
    ),
    Rule(
        given=BOTH,
        on=(CheckerTripped,),
        when=g.tripped_wait & ~g.loops_spent,
        then=WAIT,
        job=Job.RECOVERING,
        do=(*STOP_HERE, EnsureEngine()),
        sets=(n.COUNT_LOOP, n.wish(Wish.START), n.SWAP_DONE, n.NOT_ALONE),
        severity=Severity.ALARM,
        because="{what} failed ({text}), so the application is stopped until it is well again",
    ),
    Rule(
        given=BOTH,
        on=(CheckerTripped, ServiceExited),
        when=g.loops_spent & g.may_move,
        then=PRIM,
        job=Job.HANDING_OVER,
        do=HAND_OVER,
        sets=(n.FAILED_HERE, n.wish(Wish.STOP)),
        severity=Severity.ALARM,
        because="{what} failed again ({text}), {max_loops} times is enough: {peer} takes over",
    ),
    Rule(
        given=BOTH,
        on=(CheckerTripped, ServiceExited),
        when=g.loops_spent,
        then=WAIT,
        job=Job.STOPPING,
        do=STOP_HERE,
        sets=(n.FAILED_HERE, n.wish(Wish.STOP)),
        severity=Severity.ALARM,
        because="{what} failed again ({text}), {max_loops} times is enough: the module stops",
    ),
    Rule(
        given=BOTH,
        on=(ServiceExited,),
        when=g.doing(Job.SERVING, Job.RESTARTING, Job.ADOPTING),
        sets=(n.ENDED_IN_JOB,),
        because="{what} ended ({text}) while {node} is {job}; it is looked after then",
    ),
    Rule(
        given=BOTH,
        on=(CheckerTripped, ServiceExited),
        job=Job.RESTARTING,
        do=RESTART,
        sets=(n.COUNT_LOOP,),
        severity=Severity.ALARM,
        because="{what} failed ({text}), so the application is restarted here",
    ),
)

SERVING_FACTS: tuple[Rule, ...] = (
    Rule(
        given=(ALONE,),
        on=(EngineChanged,),
        when=g.frozen & ~g.link_up,
        then=PRIM,
        because="{peer} was lost as soon as it had everything: the engine waits for it",
    ),
    Rule(
        given=BOTH,
        on=FACTS,
        when=g.engine_missing & g.loops_spent,
        then=WAIT,
        job=Job.STOPPING,
        do=(ReleaseAddress(), StopApplication("primary"), StopApplication("both")),
        sets=(n.wish(Wish.STOP),),
        severity=Severity.ALARM,
        because="the engine failed again, {max_loops} times is enough: the module stops",
    ),
    Rule(
        given=BOTH,
        on=FACTS,
        when=g.engine_missing,
        then=WAIT,
        job=Job.RECOVERING,
        do=(*FORCE, StopApplication("primary"), StopApplication("both"), EnsureEngine()),
        sets=(n.COUNT_LOOP, n.SWAP_DONE),
        severity=Severity.ALARM,
        because="the engine ended by itself, so what stood on it is stopped",
    ),
    Rule(
        given=(PRIM,),
        on=FACTS,
        # The daemon died in a hand-over; its engine ended that when the next daemon had looked.
        when=g.engine_gave_up & ~g.busy,
        job=Job.SERVING,
        do=(StopApplication("primary"), BecomePrimary(alone=False), *START_PRIMARY),
        severity=Severity.ALARM,
        because="the engine has handed over, and nobody asked for that: {node} serves again",
    ),
    Rule(
        given=BOTH,
        on=FACTS,
        when=g.disk_failed & g.may_move & ~g.peer_failed,
        then=PRIM,
        job=Job.HANDING_OVER,
        do=HAND_OVER,
        sets=(n.FAILED_HERE, n.COUNT_LOOP),
        severity=Severity.ALARM,
        because="this node's disk failed, so {peer} takes over",
    ),
    Rule(
        given=(ALONE,),
        on=FACTS,
        when=g.may_move & g.peer_is_home & ~g.peer_failed & ~g.busy,
        then=PRIM,
        sets=(n.SWAP_DUE, n.STAYED),
        because="{peer} has everything again, and is to have the service back",
    ),
    Rule(
        given=(ALONE,),
        on=FACTS,
        when=g.second_synced & ~g.busy,
        then=PRIM,
        sets=(n.STAYED,),
        because="{peer} has everything, so each write is on both nodes again",
    ),
    Rule(
        given=(ALONE,),
        on=FACTS,
        # Or the engines refuse each other for ever: a follower takes nothing from an older epoch.
        when=g.peer_follows & g.refused_for_its_epoch & ~g.busy,
        do=(ContinueAlone(),),
        because="{peer} follows and has seen a later epoch, so {node} begins one above it",
    ),
    Rule(
        given=(PRIM,),
        on=FACTS,
        when=g.swap_due & g.may_move & ~g.peer_failed,
        then=PRIM,
        job=Job.HANDING_OVER,
        do=HAND_OVER,
        sets=(n.SWAP_DONE,),
        because="{peer} is the default primary and has everything again",
    ),
)

SERVING_RULES: tuple[Rule, ...] = (
    *SPLIT,
    *GOING_ALONE,
    *SERVING_JOBS,
    *SERVING_ASKED,
    *FAILURES,
    *SERVING_FACTS,
)
