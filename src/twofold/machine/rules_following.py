"""SECOND: copy, and take over when the primary is lost or offers.

A copy that is not current never takes over by itself. Whoever has offered the service takes it back
when the peer is lost or stopped before it took it: nobody has served since.
"""

from __future__ import annotations

from twofold.machine import guards as g
from twofold.machine import notes as n
from twofold.machine.actions import (
    BecomePrimary,
    HoldAddress,
    Outdate,
    ReleaseAddress,
    StartApplication,
    StopApplication,
    StopEngine,
)
from twofold.machine.events import (
    FACTS,
    JobDone,
    JobFailed,
    PrimAsked,
    RestartAsked,
    SecondAsked,
    StartAsked,
    StopAsked,
    SwapAsked,
)
from twofold.machine.model import Job, State, Wish
from twofold.machine.rule import Answer, Rule, Severity
from twofold.machine.rules_arbitration import LOST_PRIMARY
from twofold.machine.rules_handover import TAKE_OVER_NOTES
from twofold.machine.rules_stopped import SERVE_NOTES

WAIT, ALONE, PRIM, SECOND = State.WAIT, State.ALONE, State.PRIM, State.SECOND


TAKE_ALONE = (
    StopApplication("second"),
    BecomePrimary(alone=True),
    HoldAddress(),
    StartApplication("primary"),
)
TAKE_WITH_PEER = (
    StopApplication("second"),
    BecomePrimary(alone=False),
    HoldAddress(),
    StartApplication("primary"),
)
TAKE_BACK = (
    StopApplication("second"),
    BecomePrimary(alone=True, force=True),
    HoldAddress(),
    StartApplication("primary"),
)
LEAVE = (StopApplication("second"), StopApplication("both"))

FOLLOWING_JOBS: tuple[Rule, ...] = (
    Rule(
        given=(SECOND,),
        on=(JobDone,),
        when=g.ended(Job.FOLLOWING, Job.ADOPTING),
        ends_job=True,
        severity=Severity.QUIET,
        because="{node} follows {peer}",
    ),
    Rule(
        given=(SECOND,),
        on=(JobFailed,),
        when=g.ended(Job.FOLLOWING) & g.at_handover,
        then=WAIT,
        job=Job.RECOVERING,
        do=LEAVE,
        sets=(n.REST, n.COUNT_LOOP),
        severity=Severity.ALARM,
        because="the engine cannot follow: {text}",
    ),
)

FOLLOWING_ASKED: tuple[Rule, ...] = (
    Rule(
        given=(SECOND,),
        on=(StopAsked,),
        then=WAIT,
        job=Job.STOPPING,
        instead=True,
        do=(*LEAVE, ReleaseAddress(), StopEngine()),
        sets=(n.UNWANTED, n.wish(Wish.STOP), n.NO_OFFER, n.NO_CLAIM, n.LEFT_BEHIND),
        answer=Answer.ACCEPT,
        because="{by} asked for a stop",
    ),
    Rule(
        given=(SECOND,),
        on=(StartAsked, SecondAsked),
        answer=Answer.ACCEPT,
        because="{node} is the secondary already",
    ),
    Rule(
        given=(SECOND,),
        on=(PrimAsked,),
        when=g.peer_serving,
        answer=Answer.REFUSE,
        because="prim refused: {peer} is {peer_state} and serves; use `twofold swap` to move it",
    ),
    Rule(
        given=(SECOND,),
        on=(PrimAsked,),
        when=g.peer_lost & g.copy_is_current & ~g.takes_over & g.arbitrated,
        sets=(n.wish(Wish.PRIM),),
        answer=Answer.ACCEPT,
        severity=Severity.ALARM,
        because="{by} decided that {node} takes over, if {arbiter} agrees",
    ),
    Rule(
        given=(SECOND,),
        on=(PrimAsked,),
        when=(g.peer_lost | g.peer_left) & g.copy_is_current & ~g.takes_over,
        then=ALONE,
        job=Job.SERVING,
        do=TAKE_ALONE,
        sets=TAKE_OVER_NOTES,
        severity=Severity.ALARM,
        because="{by} decided that {node} takes over from {peer}",
    ),
    Rule(
        given=(SECOND,),
        on=(PrimAsked,),
        answer=Answer.REFUSE,
        because="prim refused: {node} follows {peer} and decides within {timeout} by itself",
    ),
    Rule(
        given=(SECOND,),
        on=(SwapAsked,),
        answer=Answer.REFUSE,
        because="swap refused: {node} is the secondary, and {peer} does not serve now",
    ),
    Rule(
        given=(SECOND,),
        on=(RestartAsked,),
        job=Job.FOLLOWING,
        do=(StopApplication("second"), StartApplication("second")),
        answer=Answer.ACCEPT,
        because="{by} asked for a restart of what runs on the secondary",
    ),
)

FOLLOWING_FACTS: tuple[Rule, ...] = (
    *LOST_PRIMARY,
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.must_outdate,
        do=(Outdate(),),
        sets=(n.OUTDATE_ASKED,),
        severity=Severity.ALARM,
        because="{peer} goes on alone, so this copy is out of date until it is copied again",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.engine_missing,
        then=WAIT,
        job=Job.RECOVERING,
        do=(*LEAVE, StopEngine(abort=True)),
        sets=(n.REST, n.NO_OFFER, n.NO_CLAIM),
        severity=Severity.ALARM,
        because="the engine ended by itself; this node waits and then follows again",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.offering & g.peer_serving,
        sets=(n.NO_OFFER, n.NO_CLAIM),
        because="{peer} has taken the service over",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.offering & g.peer_left & g.unclaimed,
        sets=(n.CLAIM,),
        severity=Severity.QUIET,
        because="{peer} stopped before it took the service; it is asked whether it agrees",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.offering & ((g.peer_lost & g.stood_down) | (g.peer_left & g.granted)),
        then=ALONE,
        job=Job.SERVING,
        do=TAKE_BACK,
        sets=TAKE_OVER_NOTES,
        severity=Severity.ALARM,
        because="{peer} was lost or stopped before it took the service, so {node} takes it back",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.offered_for_good & g.copy_is_current & ~g.failover_on & ~g.peer_waits,
        severity=Severity.QUIET,
        because="{peer} stops, but {node} does not take over by itself",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.offered & g.copy_is_current & g.offered_for_good & g.failover_on,
        then=ALONE,
        job=Job.SERVING,
        do=TAKE_ALONE,
        sets=TAKE_OVER_NOTES,
        because="{peer} stops in order and has handed everything over",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.offered & g.copy_is_current & g.offered_by_swap,
        then=PRIM,
        job=Job.SERVING,
        do=TAKE_WITH_PEER,
        sets=SERVE_NOTES,
        because="{peer} has handed everything over, as it was asked to",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.offered & g.copy_is_current,
        then=PRIM,
        job=Job.SERVING,
        do=TAKE_WITH_PEER,
        sets=TAKE_OVER_NOTES,
        because="{peer} has handed everything over",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.peer_lost & g.copy_is_current & ~g.takes_over & ~g.busy & ~g.wished(Wish.PRIM),
        severity=Severity.QUIET,
        because="{peer} is lost, but {node} does not take over by itself",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.peer_lost & g.copy_is_current & g.stood_down,
        then=ALONE,
        job=Job.SERVING,
        do=TAKE_ALONE,
        sets=TAKE_OVER_NOTES,
        severity=Severity.ALARM,
        because="{peer} is silent on all networks for {timeout}, and this copy is current",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.peer_left & g.copy_is_current & g.takes_over & ~g.offering,
        then=ALONE,
        job=Job.SERVING,
        do=TAKE_ALONE,
        sets=TAKE_OVER_NOTES,
        severity=Severity.ALARM,
        because="{peer} says that it does not serve any more, and this copy is current",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.peer_waits & g.copy_is_current & ~g.takes_over & ~g.offering,
        then=WAIT,
        job=Job.RECOVERING,
        do=LEAVE,
        because="{peer} serves no more, and {node} does not take over by itself: both look who may",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=(g.peer_lost | g.peer_left) & ~g.copy_is_current,
        then=WAIT,
        job=Job.RECOVERING,
        do=LEAVE,
        severity=Severity.ALARM,
        because="{peer} does not serve any more, and this copy is not current: it must not serve",
    ),
    Rule(
        given=(SECOND,),
        on=FACTS,
        when=g.nobody_serves,
        then=WAIT,
        job=Job.RECOVERING,
        do=LEAVE,
        sets=(n.NO_OFFER, n.NO_CLAIM),
        severity=Severity.ALARM,
        because="both nodes are secondary and nobody serves, so both look again who may",
    ),
)

FOLLOWING: tuple[Rule, ...] = (*FOLLOWING_JOBS, *FOLLOWING_ASKED, *FOLLOWING_FACTS)
