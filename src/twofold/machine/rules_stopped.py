"""STOP: what a daemon finds when it starts, and the commands that leave STOP.

A daemon that was killed and restarted finds its engine and goes on; it touches the application only
when that has ended meanwhile. Addresses that nobody here serves are removed at once.
"""

from __future__ import annotations

from twofold.machine import guards as g
from twofold.machine import notes as n
from twofold.machine.actions import (
    BecomeSecondary,
    EnsureEngine,
    HoldAddress,
    ReleaseAddress,
    StartApplication,
    StopApplication,
    StopEngine,
)
from twofold.machine.events import (
    Found,
    PrimAsked,
    RestartAsked,
    SecondAsked,
    StartAsked,
    StopAsked,
    SwapAsked,
)
from twofold.machine.model import Job, State, Wish
from twofold.machine.rule import Answer, Rule, Severity

STOP, WAIT, ALONE, PRIM, SECOND = State.STOP, State.WAIT, State.ALONE, State.PRIM, State.SECOND

STOP_ALL = (StopApplication("primary"), StopApplication("second"), StopApplication("both"))
START_PRIMARY = (HoldAddress(), StartApplication("both"), StartApplication("primary"))
START_SECOND = (StartApplication("both"), StartApplication("second"))
BEGIN = (ReleaseAddress(), *STOP_ALL, EnsureEngine())
END_AND_BEGIN = (ReleaseAddress(), StopEngine(abort=True), *STOP_ALL, EnsureEngine())
SERVE_NOTES = (
    n.wish(Wish.START),
    n.NOT_FROM_STOP,
    n.NO_CLAIM,
    n.NO_OFFER,
    n.STAYED,
    n.SWAP_DONE,
    n.ALL_RUN,
    n.NO_TROUBLE,
)
STARTED = (
    n.WANTED,
    n.NOT_FROM_STOP,
    n.ASKED_FOR,
    n.FRESH_LOOPS,
    n.NO_TROUBLE,
    n.NO_OFFER,
    n.ASK_CHECKERS,
)

FOUND: tuple[Rule, ...] = (
    Rule(
        given=(STOP,),
        on=(Found,),
        when=g.found_outlived,
        then=WAIT,
        job=Job.STARTING,
        do=END_AND_BEGIN,
        sets=(n.WANTED, n.wish(Wish.START), n.ASK_CHECKERS),
        severity=Severity.ALARM,
        because="the daemon came back and found its engine serving in an epoch that is over",
    ),
    # The peer was told, and may have served since, also when nobody is there to say so.
    Rule(
        given=(STOP,),
        on=(Found,),
        when=g.found_let_go,
        then=WAIT,
        job=Job.STARTING,
        do=END_AND_BEGIN,
        sets=(n.WANTED, n.wish(Wish.START), n.ASK_CHECKERS),
        severity=Severity.ALARM,
        because="the daemon came back and found its engine serving, though {node} had given the "
        "service up",
    ),
    Rule(
        given=(STOP,),
        on=(Found,),
        when=g.found_serving & g.found_alone,
        then=ALONE,
        job=Job.ADOPTING,
        do=(HoldAddress(),),
        sets=(n.WANTED, n.wish(Wish.START)),
        because="the daemon came back and found its engine and application serving; they go on",
    ),
    Rule(
        given=(STOP,),
        on=(Found,),
        when=g.found_serving,
        then=PRIM,
        job=Job.ADOPTING,
        do=(HoldAddress(),),
        sets=(n.WANTED, n.wish(Wish.START)),
        because="the daemon came back and found its engine and application serving; they go on",
    ),
    Rule(
        given=(STOP,),
        on=(Found,),
        when=g.found_primary & g.found_alone,
        then=ALONE,
        job=Job.SERVING,
        do=START_PRIMARY,
        sets=(n.WANTED, n.wish(Wish.START)),
        because="the daemon came back and found its engine serving, but not the application",
    ),
    Rule(
        given=(STOP,),
        on=(Found,),
        when=g.found_primary,
        then=PRIM,
        job=Job.SERVING,
        do=START_PRIMARY,
        sets=(n.WANTED, n.wish(Wish.START)),
        because="the daemon came back and found its engine serving, but not the application",
    ),
    Rule(
        given=(STOP,),
        on=(Found,),
        when=g.found_secondary,
        then=SECOND,
        job=Job.ADOPTING,
        # It may have been told not to follow, on the way to a stop; whoever follows goes on.
        do=(ReleaseAddress(), StopApplication("primary"), BecomeSecondary(), *START_SECOND),
        sets=(n.WANTED, n.wish(Wish.START)),
        because="the daemon came back and found its engine following {peer}",
    ),
    Rule(
        given=(STOP,),
        on=(Found,),
        when=g.wanted | g.found_engine,
        then=WAIT,
        job=Job.STARTING,
        do=BEGIN,
        sets=(n.WANTED, n.wish(Wish.START), n.ASK_CHECKERS),
        because="the daemon started, and the module was started before",
    ),
    Rule(
        given=(STOP,),
        on=(Found,),
        job=Job.CLEANING,
        do=(ReleaseAddress(), *STOP_ALL),
        severity=Severity.QUIET,
        because="the daemon started; the module stays stopped",
    ),
)

COMMANDED: tuple[Rule, ...] = (
    Rule(
        given=(STOP,),
        on=(StartAsked,),
        then=WAIT,
        job=Job.STARTING,
        instead=True,
        do=BEGIN,
        sets=(*STARTED, n.wish(Wish.START)),
        answer=Answer.ACCEPT,
        because="{by} asked for a start",
    ),
    Rule(
        given=(STOP, WAIT),
        on=(PrimAsked,),
        when=g.peer_serving,
        answer=Answer.REFUSE,
        because="prim refused: {peer} is {peer_state} and serves; use `twofold swap` to move it",
    ),
    Rule(
        given=(STOP,),
        on=(PrimAsked,),
        when=g.forced,
        then=WAIT,
        job=Job.STARTING,
        instead=True,
        do=BEGIN,
        sets=(*STARTED, n.FROM_STOP, n.wish(Wish.PRIM_FORCED)),
        because="{by} wants this node to serve, whatever the age of its data",
    ),
    Rule(
        given=(STOP,),
        on=(PrimAsked,),
        then=WAIT,
        job=Job.STARTING,
        instead=True,
        do=BEGIN,
        sets=(*STARTED, n.FROM_STOP, n.wish(Wish.PRIM)),
        because="{by} says this node has the good data",
    ),
    Rule(
        given=(STOP,),
        on=(SecondAsked,),
        then=WAIT,
        job=Job.STARTING,
        instead=True,
        do=BEGIN,
        sets=(*STARTED, n.wish(Wish.SECOND)),
        answer=Answer.ACCEPT,
        because="{by} wants this node to be the secondary",
    ),
    Rule(
        given=(STOP,),
        on=(StopAsked,),
        sets=(n.UNWANTED,),
        answer=Answer.ACCEPT,
        because="stopped already",
    ),
    Rule(
        given=(STOP,),
        on=(SwapAsked, RestartAsked),
        answer=Answer.REFUSE,
        because="not possible: the module is stopped on {node}; start it first",
    ),
)

STOPPED: tuple[Rule, ...] = (*FOUND, *COMMANDED)
