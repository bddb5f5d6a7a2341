"""ALONE and PRIM: how a job that began there ends, above all the hand-over.

The service is offered (see `Offer`) only when the application is stopped, the address released and
the engine has handed over, so the application never runs on both sides; what fails before that
goes back to serving here. A hand-over begins as PRIM: who is ALONE at its end has lost the peer.
"""

from __future__ import annotations

from twofold.machine import guards as g
from twofold.machine import notes as n
from twofold.machine.actions import (
    BecomePrimary,
    BecomeSecondary,
    EnsureEngine,
    ReleaseAddress,
    StartApplication,
    StopApplication,
    StopEngine,
)
from twofold.machine.events import (
    JobDone,
    JobFailed,
)
from twofold.machine.model import Job, Offer, State, Wish
from twofold.machine.rule import Answer, Rule, Severity
from twofold.machine.rules_arbitration import LET_GO, LET_GO_FOR_GOOD
from twofold.machine.rules_stopped import SERVE_NOTES, START_PRIMARY

WAIT, ALONE, PRIM, SECOND = State.WAIT, State.ALONE, State.PRIM, State.SECOND
BOTH = (ALONE, PRIM)

HAND_OVER = (StopApplication("primary"), ReleaseAddress(), BecomeSecondary())
HAND_OVER_TO_STOP = (StopApplication("primary"), ReleaseAddress(), BecomeSecondary(follow=False))
STOP_HERE = (StopApplication("primary"), StopApplication("both"), ReleaseAddress(), StopEngine())
FORCE = (ReleaseAddress(), StopEngine(abort=True))
RESTART = (StopApplication("primary"), StartApplication("both"), StartApplication("primary"))

SERVING_JOBS: tuple[Rule, ...] = (
    Rule(
        given=BOTH,
        on=(JobDone,),
        when=g.ended(Job.SERVING, Job.RESTARTING, Job.ADOPTING) & g.ended_meanwhile,
        job=Job.RESTARTING,
        do=(StartApplication("both"), StartApplication("primary")),
        sets=(n.COUNT_LOOP, n.ALL_RUN),
        severity=Severity.ALARM,
        because="a service ended while the others were being started, so it is started again",
    ),
    Rule(
        given=BOTH,
        on=(JobDone,),
        when=g.ended(Job.SERVING, Job.RESTARTING, Job.ADOPTING),
        ends_job=True,
        sets=(n.NO_TROUBLE,),
        answer=Answer.ACCEPT,
        because="{node} serves",
    ),
    # What cannot be remembered must be true without it: no daemon may find this engine serving.
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.SERVING) & g.at_engine & g.engine_primary,
        then=WAIT,
        job=Job.RECOVERING,
        do=(*FORCE, StopApplication("primary"), StopApplication("both"), EnsureEngine()),
        sets=(n.REST, n.COUNT_LOOP),
        answer=Answer.REFUSE,
        severity=Severity.ALARM,
        because="the engine refused to go on serving ({text}), so it is ended",
    ),
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.SERVING) & g.at_engine,
        then=WAIT,
        job=Job.RECOVERING,
        do=(ReleaseAddress(), StopApplication("primary"), StopApplication("both")),
        sets=(n.REST, n.COUNT_LOOP),
        answer=Answer.REFUSE,
        severity=Severity.ALARM,
        because="the engine refused to serve: {text}",
    ),
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.SERVING, Job.RESTARTING) & g.may_move & ~g.peer_failed,
        then=PRIM,
        job=Job.HANDING_OVER,
        do=HAND_OVER,
        sets=(n.FAILED_HERE, n.COUNT_LOOP),
        answer=Answer.REFUSE,
        severity=Severity.ALARM,
        because="the application does not start here ({text}), so {peer} gets it back",
    ),
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.SERVING, Job.RESTARTING) & g.loops_spent,
        then=WAIT,
        job=Job.STOPPING,
        do=STOP_HERE,
        sets=(n.FAILED_HERE, n.wish(Wish.STOP)),
        answer=Answer.REFUSE,
        severity=Severity.ALARM,
        because="the application does not start ({text}), {max_loops} attempts are enough",
    ),
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.SERVING, Job.RESTARTING, Job.ADOPTING),
        job=Job.SERVING,
        do=(StopApplication("primary"), *START_PRIMARY),
        sets=(n.FAILED_HERE, n.COUNT_LOOP),
        severity=Severity.ALARM,
        because="the application does not start ({text}); there is nobody else, so once more",
    ),
    Rule(
        given=BOTH,
        on=(JobDone,),
        when=g.ended(Job.HANDING_OVER) & g.stop_wished,
        then=WAIT,
        job=Job.STOPPING,
        do=(StopApplication("both"), StopEngine()),
        sets=(n.offer(Offer.STOP),),
        because="the application is stopped and everything is on {peer}, which may take over now",
    ),
    Rule(
        given=(ALONE,),
        on=(JobDone,),
        when=g.ended(Job.HANDING_OVER),
        job=Job.SERVING,
        do=(BecomePrimary(alone=True, force=True), *START_PRIMARY),
        sets=(n.SWAP_DONE,),
        severity=Severity.ALARM,
        because="{peer} was lost before the service was offered to it, so {node} goes on",
    ),
    Rule(
        given=BOTH,
        on=(JobDone,),
        when=g.ended(Job.HANDING_OVER) & g.failed_here,
        then=SECOND,
        job=Job.FOLLOWING,
        do=(StartApplication("second"),),
        sets=(n.offer(Offer.FAILOVER), n.SWAP_DONE),
        because="the application failed here; everything is on {peer}, which may take over now",
    ),
    Rule(
        given=BOTH,
        on=(JobDone,),
        when=g.ended(Job.HANDING_OVER),
        then=SECOND,
        job=Job.FOLLOWING,
        do=(StartApplication("second"),),
        sets=(n.offer(Offer.SWAP), n.SWAP_DONE),
        because="the application is stopped and everything is on {peer}, which may take over now",
    ),
    # An engine that says nothing cannot serve either: asking it for that would cost another wait.
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.HANDING_OVER) & g.engine_silent & g.stop_wished,
        then=WAIT,
        job=Job.FORCING,
        do=LET_GO_FOR_GOOD,
        sets=(n.TROUBLE,),
        severity=Severity.ALARM,
        because="the engine gave no answer ({text}), so this node stops by force",
    ),
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.HANDING_OVER) & g.engine_silent,
        then=WAIT,
        job=Job.STEPPING_ASIDE,
        do=LET_GO,
        sets=(n.wish(Wish.START), n.SWAP_DONE, n.TROUBLE),
        answer=Answer.REFUSE,
        severity=Severity.ALARM,
        because="the engine gave no answer ({text}), so {node} stops serving by force",
    ),
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.HANDING_OVER) & g.at_handover & g.stop_wished,
        then=WAIT,
        job=Job.STOPPING,
        do=(StopApplication("both"), StopEngine()),
        sets=(n.TROUBLE,),
        severity=Severity.ALARM,
        because="{peer} was lost before it had everything ({text}); {node} stops all the same",
    ),
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.HANDING_OVER) & ~g.at_handover & (g.stop_wished | g.failed_here),
        then=WAIT,
        job=Job.FORCING,
        do=FORCE,
        sets=(n.TROUBLE, n.wish(Wish.STOP)),
        severity=Severity.ALARM,
        because="an orderly hand-over failed ({text}), so this node stops by force",
    ),
    # Another epoch of this node would be of the other's term, and stand above what that has won.
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.HANDING_OVER) & g.at_handover & g.peer_claimed,
        then=WAIT,
        job=Job.STEPPING_ASIDE,
        do=LET_GO,
        sets=(n.wish(Wish.START), n.SWAP_DONE, n.TROUBLE),
        answer=Answer.REFUSE,
        severity=Severity.ALARM,
        because="the hand-over failed ({text}) and {peer} has claimed the service, "
        "so {node} stops serving",
    ),
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.HANDING_OVER) & g.at_handover,
        job=Job.SERVING,
        do=(BecomePrimary(alone=False), *START_PRIMARY),
        sets=(n.TROUBLE,),
        answer=Answer.REFUSE,
        severity=Severity.ALARM,
        because="the hand-over failed ({text}), so {node} goes on serving",
    ),
    Rule(
        given=BOTH,
        on=(JobFailed,),
        when=g.ended(Job.HANDING_OVER),
        job=Job.SERVING,
        do=START_PRIMARY,
        sets=(n.TROUBLE,),
        answer=Answer.REFUSE,
        severity=Severity.ALARM,
        because="the hand-over failed ({text}), so {node} goes on serving",
    ),
)


# What a secondary that takes over remembers: the same as at any other start, and that it did.
TAKE_OVER_NOTES = (*(note for note in SERVE_NOTES if note is not n.STAYED), n.TOOK_OVER)
