"""WAIT: who may begin to serve.

A node serves from WAIT only when its data may be served (`standing`) and no other can begin at the
same time: either the peer is silent, or it has *granted* this node's claim (a ticket with a number
of its own, so that an answer to an earlier claim is none to this). A
granting node does not begin itself until the claim is gone, and one that serves, follows, or still
stops what it ran grants nothing. Else that needs one exchange of heartbeats, a millisecond.
"""

from __future__ import annotations

from twofold.machine import guards as g
from twofold.machine import notes as n
from twofold.machine.actions import (
    AskRelation,
    BecomePrimary,
    BecomeSecondary,
    ReleaseAddress,
    StopEngine,
)
from twofold.machine.events import (
    FACTS,
    AsideFailed,
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
from twofold.machine.rules_arbitration import BEGIN_ALONE
from twofold.machine.rules_stopped import BEGIN, SERVE_NOTES, START_PRIMARY, START_SECOND, STOP_ALL

STOP, WAIT, ALONE, PRIM, SECOND = State.STOP, State.WAIT, State.ALONE, State.PRIM, State.SECOND

MAY_BEGIN = (
    g.wished(Wish.PRIM_FORCED)
    | (g.wished(Wish.PRIM) & g.may_prim)
    | (g.wished(Wish.START) & g.may_serve)
)
FOLLOW_NOTES = (n.wish(Wish.START), n.NOT_FROM_STOP, n.NO_CLAIM, n.NO_OFFER, n.OUTDATE_ASKED)

WAIT_ASKED: tuple[Rule, ...] = (
    Rule(
        given=(WAIT,),
        on=(StopAsked,),
        job=Job.STOPPING,
        instead=True,
        do=(ReleaseAddress(), *STOP_ALL, StopEngine()),
        sets=(n.UNWANTED, n.NO_CLAIM, n.wish(Wish.STOP)),
        answer=Answer.ACCEPT,
        because="{by} asked for a stop",
    ),
    Rule(
        given=(WAIT,),
        on=(StartAsked, PrimAsked, SecondAsked),
        when=g.stop_wished,
        answer=Answer.REFUSE,
        because="not possible now: {node} is stopping; try again when it has stopped",
    ),
    Rule(
        given=(WAIT,),
        on=(PrimAsked,),
        when=g.forced,
        sets=(n.wish(Wish.PRIM_FORCED), n.NO_CLAIM),
        because="{by} wants this node to serve, whatever the age of its data",
    ),
    Rule(
        given=(WAIT,),
        on=(PrimAsked,),
        sets=(n.wish(Wish.PRIM), n.NO_CLAIM),
        because="{by} says this node has the good data",
    ),
    Rule(
        given=(WAIT,),
        on=(StartAsked,),
        sets=(n.wish(Wish.START), n.NO_CLAIM),
        answer=Answer.ACCEPT,
        because="{by} asked for a start",
    ),
    Rule(
        given=(WAIT,),
        on=(SecondAsked,),
        sets=(n.wish(Wish.SECOND), n.NO_CLAIM),
        answer=Answer.ACCEPT,
        because="{by} wants this node to be the secondary",
    ),
    Rule(
        given=(WAIT,),
        on=(SwapAsked, RestartAsked),
        answer=Answer.REFUSE,
        because="not possible: {node} waits and does not serve; `twofold state` says for what",
    ),
)

WAIT_JOBS: tuple[Rule, ...] = (
    Rule(
        given=(WAIT,),
        on=(JobDone,),
        when=g.ended(Job.STOPPING, Job.FORCING),
        then=STOP,
        ends_job=True,
        sets=(n.wish(Wish.NONE),),
        because="stopped",
    ),
    Rule(
        given=(WAIT,),
        on=(JobFailed,),
        when=g.ended(Job.STOPPING),
        job=Job.FORCING,
        do=(ReleaseAddress(), StopEngine(abort=True)),
        sets=(n.TROUBLE,),
        severity=Severity.ALARM,
        because="the orderly stop failed ({text}), so the engine is stopped by force",
    ),
    Rule(
        given=(WAIT,),
        on=(JobFailed,),
        when=g.ended(Job.FORCING),
        then=STOP,
        ends_job=True,
        sets=(n.TROUBLE, n.wish(Wish.NONE)),
        severity=Severity.ALARM,
        because="even the forced stop failed: {text}",
    ),
    Rule(
        given=(WAIT,),
        on=(JobFailed,),
        when=g.ended(Job.STARTING) & ~g.asked_for & ~g.loops_spent,
        ends_job=True,
        sets=(n.REST,),
        severity=Severity.ALARM,
        because="the engine did not start ({text}); it is tried again",
    ),
    Rule(
        given=(WAIT,),
        on=(JobFailed,),
        when=g.ended(Job.STARTING),
        then=STOP,
        ends_job=True,
        sets=(n.TROUBLE, n.wish(Wish.NONE)),
        answer=Answer.REFUSE,
        severity=Severity.ALARM,
        because="the module cannot start on {node}: {text}",
    ),
    Rule(
        given=(WAIT,),
        on=(JobFailed,),
        when=g.ended(Job.STEPPING_ASIDE, Job.RECOVERING),
        job=Job.RECOVERING,
        do=(ReleaseAddress(), StopEngine(abort=True)),
        sets=(n.REST, n.COUNT_LOOP),
        severity=Severity.ALARM,
        because="an orderly end failed ({text}), so the engine is stopped by force",
    ),
)

WAIT_FACTS: tuple[Rule, ...] = (
    Rule(
        given=(WAIT,),
        on=(AsideFailed,),
        sets=(n.FORGET_ASKED, n.REST),
        severity=Severity.ALARM,
        because="the engine could not compare the data with {peer}'s: {text}",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.stop_wished | g.resting | g.busy,
        severity=Severity.QUIET,
        because="not yet",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.engine_missing & g.loops_spent,
        job=Job.STOPPING,
        do=(ReleaseAddress(), *STOP_ALL, StopEngine(abort=True)),
        sets=(n.wish(Wish.STOP), n.NO_CLAIM),
        severity=Severity.ALARM,
        because="the engine failed again, {max_loops} times is enough: {trouble}",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.engine_missing,
        job=Job.STARTING,
        do=BEGIN,
        sets=(n.COUNT_LOOP,),
        severity=Severity.ALARM,
        because="the engine is not running, so it is started again",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.wished(Wish.PRIM, Wish.PRIM_FORCED) & g.peer_serving,
        sets=(n.wish(Wish.START), n.NO_CLAIM),
        answer=Answer.REFUSE,
        because="prim refused: {peer} is {peer_state} and serves; use `twofold swap` to move it",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.must_compare,
        do=(AskRelation(),),
        sets=(n.ASKED,),
        severity=Severity.QUIET,
        because="this node's data is compared with {peer}'s",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.peer_serving & g.strangers & ~g.wished(Wish.SECOND),
        severity=Severity.QUIET,
        because="{peer} serves other data, which has nothing in common with this node's",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.peer_serving & g.comparing & ~g.engine_missing,
        severity=Severity.QUIET,
        because="{peer} serves; this node compares its data with it before it follows",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.peer_serving & g.diverged,
        then=SECOND,
        job=Job.FOLLOWING,
        do=(BecomeSecondary(), *START_SECOND),
        sets=FOLLOW_NOTES,
        answer=Answer.ACCEPT,
        severity=Severity.ALARM,
        because="both nodes went on alone; {peer} serves, so what {node} wrote alone gives way",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.peer_serving & g.newer_here,
        then=SECOND,
        job=Job.FOLLOWING,
        do=(BecomeSecondary(), *START_SECOND),
        sets=FOLLOW_NOTES,
        answer=Answer.ACCEPT,
        severity=Severity.ALARM,
        because="{node} has writes that {peer} has not; {peer} serves, so they give way",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.peer_serving,
        then=SECOND,
        job=Job.FOLLOWING,
        do=(BecomeSecondary(), *START_SECOND),
        sets=FOLLOW_NOTES,
        answer=Answer.ACCEPT,
        because="{peer} is {peer_state}, so this node follows it",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.wished(Wish.SECOND) | g.peer_follows,
        severity=Severity.QUIET,
        because="waiting for {peer} to serve",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.unwell & g.claiming & ~g.wished(Wish.PRIM_FORCED),
        sets=(n.NO_CLAIM,),
        because="{unwell} failed, so {node} does not begin to serve",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.unwell & ~g.wished(Wish.PRIM_FORCED),
        severity=Severity.QUIET,
        because="waiting until {unwell} is well",
    ),
    *BEGIN_ALONE,
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.wished(Wish.PRIM) & ~g.comparing & ~g.may_prim & g.from_stop,
        job=Job.STOPPING,
        do=(StopEngine(),),
        sets=(n.wish(Wish.STOP), n.UNWANTED, n.NO_CLAIM),
        answer=Answer.REFUSE_UNLESS_FORCED,
        because="prim refused: {node} {standing}; `twofold prim --yes` serves it all the same",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.wished(Wish.PRIM) & ~g.comparing & ~g.may_prim,
        sets=(n.wish(Wish.START), n.NO_CLAIM),
        answer=Answer.REFUSE_UNLESS_FORCED,
        because="prim refused: {node} {standing}; `twofold prim --yes` serves it all the same",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.wished(Wish.PRIM_FORCED) & (g.clear | (g.peer_silent & g.no_ruling)),
        then=ALONE,
        job=Job.SERVING,
        do=(BecomePrimary(alone=True, force=True), *START_PRIMARY),
        sets=SERVE_NOTES,
        severity=Severity.ALARM,
        because="a person decided that {node} serves, although it {standing}",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.wished(Wish.PRIM) & g.may_prim & g.clear & g.peer_silent,
        then=ALONE,
        job=Job.SERVING,
        do=(BecomePrimary(alone=True), *START_PRIMARY),
        sets=SERVE_NOTES,
        because="a person says that {node} has the good data, and nothing speaks against it",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.wished(Wish.PRIM) & g.may_prim & g.clear,
        then=ALONE,
        job=Job.SERVING,
        do=(BecomePrimary(alone=True, force=True), *START_PRIMARY),
        sets=SERVE_NOTES,
        because="a person says that {node} has the good data, and {peer} has nothing newer",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.wished(Wish.START) & g.may_serve & g.equals & g.clear,
        then=PRIM,
        job=Job.SERVING,
        do=(BecomePrimary(alone=False, force=True), *START_PRIMARY),
        sets=SERVE_NOTES,
        because="both nodes have the same data, and it is {node}'s turn to serve",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.wished(Wish.START) & g.may_serve & g.clear & g.peer_silent,
        then=ALONE,
        job=Job.SERVING,
        do=(BecomePrimary(alone=True), *START_PRIMARY),
        sets=SERVE_NOTES,
        because="{node} has the newest data, and {peer} is not there",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.wished(Wish.START) & g.may_serve & g.clear,
        then=ALONE,
        job=Job.SERVING,
        # The engine cannot know what the comparison has shown: that the other has nothing newer.
        do=(BecomePrimary(alone=True, force=True), *START_PRIMARY),
        sets=SERVE_NOTES,
        because="{node} has the newest data, and {peer} does not serve",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.unclaimed & g.peer_heard & MAY_BEGIN,
        sets=(n.CLAIM,),
        severity=Severity.QUIET,
        because="this node may serve, and asks {peer} whether it agrees",
    ),
    # What was learnt since speaks for the other, which would wait for this claim to go.
    Rule(
        given=(WAIT,),
        on=FACTS,
        when=g.claiming & g.peer_heard & ~g.comparing & ~MAY_BEGIN,
        sets=(n.NO_CLAIM,),
        severity=Severity.QUIET,
        because="this node may not serve any more, and no longer asks {peer} whether it agrees",
    ),
)

WAITING: tuple[Rule, ...] = (*WAIT_ASKED, *WAIT_JOBS, *WAIT_FACTS)
