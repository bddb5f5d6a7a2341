"""The table of light modules: one node alone; start, check, restart. States STOP, WAIT, UP.

No engine, no peer, no epoch: each node that starts a light module runs it for itself. WAIT is on
the way (cleaning up, resting after a failure, waiting for a checker with the action wait) and back.
The order is that of a mirror: address, then application; and the other way round. The answers to
what only a mirror knows (prim, second, swap) say so.
"""

from __future__ import annotations

from twofold.machine import guards as g
from twofold.machine import notes as n
from twofold.machine.actions import (
    HoldAddress,
    ReleaseAddress,
    StartApplication,
    StopApplication,
)
from twofold.machine.events import (
    FACTS,
    AsideFailed,
    CheckerTripped,
    Found,
    JobDone,
    JobFailed,
    PrimAsked,
    RestartAsked,
    SecondAsked,
    ServiceExited,
    StartAsked,
    StopAsked,
    SwapAsked,
)
from twofold.machine.model import LIGHT_STATES, Job, Wish
from twofold.machine.rule import Answer, Rule, Severity

STOP, WAIT, UP = LIGHT_STATES

START = (HoldAddress(), StartApplication("both"), StartApplication("primary"))
END = (StopApplication("primary"), StopApplication("both"), ReleaseAddress())
RESTART = (
    StopApplication("primary"),
    StopApplication("both"),
    StartApplication("both"),
    StartApplication("primary"),
)
RUNS_NOTES = (n.wish(Wish.START), n.ALL_RUN, n.NO_TROUBLE)
BEGUN = (n.WANTED, n.wish(Wish.START), n.ASK_CHECKERS)

FOUND: tuple[Rule, ...] = (
    Rule(
        given=(STOP,),
        on=(Found,),
        when=g.found_application,
        then=UP,
        job=Job.ADOPTING,
        do=(HoldAddress(),),
        sets=(n.WANTED, n.wish(Wish.START)),
        because="the daemon came back and found the application running; it goes on",
    ),
    Rule(
        given=(STOP,),
        on=(Found,),
        when=g.wanted,
        then=WAIT,
        job=Job.CLEANING,
        do=END,
        sets=BEGUN,
        because="the daemon started, and the module was started before",
    ),
    Rule(
        given=(STOP,),
        on=(Found,),
        job=Job.CLEANING,
        do=END,
        severity=Severity.QUIET,
        because="the daemon started; the module stays stopped",
    ),
)

ASKED_OF_LIGHT: tuple[Rule, ...] = (
    Rule(
        given=LIGHT_STATES,
        on=(PrimAsked, SecondAsked, SwapAsked),
        answer=Answer.REFUSE,
        because="not possible: a light module runs on each node by itself; use `twofold start`",
    ),
    Rule(
        given=(STOP,),
        on=(StartAsked,),
        then=WAIT,
        job=Job.CLEANING,
        instead=True,
        do=END,
        sets=(*BEGUN, n.FRESH_LOOPS, n.NO_TROUBLE),
        because="{by} asked for a start",
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
        on=(RestartAsked,),
        answer=Answer.REFUSE,
        because="not possible: the module is stopped on {node}; start it first",
    ),
    Rule(
        given=(WAIT,),
        on=(StopAsked,),
        job=Job.STOPPING,
        instead=True,
        do=END,
        sets=(n.UNWANTED, n.wish(Wish.STOP)),
        answer=Answer.ACCEPT,
        because="{by} asked for a stop",
    ),
    Rule(
        given=(UP,),
        on=(StopAsked,),
        then=WAIT,
        job=Job.STOPPING,
        instead=True,
        do=END,
        sets=(n.UNWANTED, n.wish(Wish.STOP)),
        answer=Answer.ACCEPT,
        because="{by} asked for a stop",
    ),
    Rule(
        given=(WAIT,),
        on=(StartAsked, RestartAsked),
        when=g.stop_wished,
        answer=Answer.REFUSE,
        because="not possible now: {node} is stopping; try again when it has stopped",
    ),
    Rule(
        given=(WAIT,),
        on=(StartAsked, RestartAsked),
        answer=Answer.ACCEPT,
        because="it is about to start on {node}; `twofold state` says what it waits for",
    ),
    Rule(
        given=(UP,),
        on=(StartAsked,),
        answer=Answer.ACCEPT,
        because="{node} runs it already",
    ),
    Rule(
        given=(UP,),
        on=(RestartAsked,),
        job=Job.RESTARTING,
        do=RESTART,
        sets=(n.FRESH_LOOPS,),
        answer=Answer.ACCEPT,
        because="{by} asked for a restart of the application",
    ),
)

LIGHT_JOBS: tuple[Rule, ...] = (
    Rule(
        given=(WAIT,),
        on=(JobDone,),
        when=g.ended(Job.STOPPING),
        then=STOP,
        ends_job=True,
        sets=(n.wish(Wish.NONE),),
        because="stopped",
    ),
    Rule(
        given=(WAIT,),
        on=(JobFailed,),
        when=g.ended(Job.STOPPING),
        then=STOP,
        ends_job=True,
        sets=(n.TROUBLE, n.wish(Wish.NONE)),
        severity=Severity.ALARM,
        because="even the forced stop failed: {text}",
    ),
    Rule(
        given=(WAIT,),
        on=(JobFailed,),
        when=g.loops_spent,
        then=STOP,
        ends_job=True,
        sets=(n.TROUBLE, n.wish(Wish.NONE)),
        answer=Answer.REFUSE,
        severity=Severity.ALARM,
        because="what an earlier run left cannot be stopped ({text}): the module stays stopped",
    ),
    Rule(
        given=(WAIT,),
        on=(JobFailed,),
        job=Job.CLEANING,
        do=END,
        sets=(n.REST, n.COUNT_LOOP),
        severity=Severity.ALARM,
        because="what an earlier run left cannot be stopped ({text}); it is tried again",
    ),
    Rule(
        given=(UP,),
        on=(JobDone,),
        when=g.ended_meanwhile,
        job=Job.RESTARTING,
        do=RESTART,
        sets=(n.COUNT_LOOP, n.ALL_RUN),
        severity=Severity.ALARM,
        because="a service ended while the others were being started, so it is started again",
    ),
    Rule(
        given=(UP,),
        on=(JobDone,),
        ends_job=True,
        sets=(n.NO_TROUBLE,),
        answer=Answer.ACCEPT,
        because="{node} runs it",
    ),
    Rule(
        given=(UP,),
        on=(JobFailed,),
        when=g.loops_spent,
        then=WAIT,
        job=Job.STOPPING,
        do=END,
        sets=(n.FAILED_HERE, n.wish(Wish.STOP)),
        answer=Answer.REFUSE,
        severity=Severity.ALARM,
        because="the application does not start ({text}), {max_loops} attempts are enough",
    ),
    Rule(
        given=(UP,),
        on=(JobFailed,),
        then=WAIT,
        job=Job.RECOVERING,
        do=END,
        sets=(n.REST, n.COUNT_LOOP),
        severity=Severity.ALARM,
        because="the application does not start ({text}); it is tried again",
    ),
)

LIGHT_FAILURES: tuple[Rule, ...] = (
    Rule(
        given=(UP,),
        on=(CheckerTripped,),
        when=g.tripped_none,
        severity=Severity.ALARM,
        because="{what} failed ({text}); its action is none",
    ),
    Rule(
        given=(UP,),
        on=(CheckerTripped,),
        when=g.tripped_stop,
        then=WAIT,
        job=Job.STOPPING,
        do=END,
        sets=(n.FAILED_HERE, n.wish(Wish.STOP)),
        severity=Severity.ALARM,
        because="{what} failed ({text}); its action is stop",
    ),
    Rule(
        given=(UP,),
        on=(CheckerTripped, ServiceExited),
        when=g.loops_spent,
        then=WAIT,
        job=Job.STOPPING,
        do=END,
        sets=(n.FAILED_HERE, n.wish(Wish.STOP)),
        severity=Severity.ALARM,
        because="{what} failed again ({text}), {max_loops} times is enough: the module stops",
    ),
    Rule(
        given=(UP,),
        on=(CheckerTripped,),
        when=g.tripped_wait,
        then=WAIT,
        job=Job.RECOVERING,
        do=END,
        sets=(n.COUNT_LOOP,),
        severity=Severity.ALARM,
        because="{what} failed ({text}), so the application is stopped until it is well again",
    ),
    Rule(
        given=(UP,),
        on=(ServiceExited,),
        when=g.doing(Job.SERVING, Job.RESTARTING, Job.ADOPTING),
        sets=(n.ENDED_IN_JOB,),
        because="{what} ended ({text}) while {node} is {job}; it is looked after then",
    ),
    Rule(
        given=(UP,),
        on=(CheckerTripped, ServiceExited),
        job=Job.RESTARTING,
        do=RESTART,
        sets=(n.COUNT_LOOP,),
        severity=Severity.ALARM,
        because="{what} failed ({text}), so the application is restarted here",
    ),
)

LIGHT_FACTS: tuple[Rule, ...] = (
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
        when=g.unwell,
        severity=Severity.QUIET,
        because="waiting until {unwell} is well",
    ),
    Rule(
        given=(WAIT,),
        on=FACTS,
        then=UP,
        job=Job.SERVING,
        do=START,
        sets=RUNS_NOTES,
        because="nothing speaks against it, so the application is started",
    ),
    Rule(
        given=LIGHT_STATES,
        on=FACTS,
        severity=Severity.QUIET,
        because="nothing to do",
    ),
)

LIGHT_OTHERWISE: tuple[Rule, ...] = (
    Rule(
        given=LIGHT_STATES,
        on=(StartAsked, StopAsked, RestartAsked),
        answer=Answer.REFUSE,
        because="not possible now: {node} is {job}",
    ),
    Rule(
        given=LIGHT_STATES,
        on=(JobDone,),
        ends_job=True,
        severity=Severity.QUIET,
        because="done",
    ),
    Rule(
        given=LIGHT_STATES,
        on=(JobFailed,),
        ends_job=True,
        sets=(n.TROUBLE,),
        severity=Severity.ALARM,
        because="this did not succeed: {text}",
    ),
    Rule(
        given=LIGHT_STATES,
        on=(AsideFailed,),
        sets=(n.TROUBLE,),
        severity=Severity.ALARM,
        because="this did not succeed: {text}",
    ),
    Rule(
        given=LIGHT_STATES,
        on=(ServiceExited, CheckerTripped),
        because="{what} failed ({text}); nothing follows: {node} is {job}",
    ),
    Rule(
        given=LIGHT_STATES,
        on=(Found,),
        severity=Severity.QUIET,
        because="already at work",
    ),
)

LIGHT_RULES: tuple[Rule, ...] = (
    *FOUND,
    *ASKED_OF_LIGHT,
    *LIGHT_JOBS,
    *LIGHT_FAILURES,
    *LIGHT_FACTS,
    *LIGHT_OTHERWISE,
)
