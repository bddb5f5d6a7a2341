"""Whether a node agrees that the other begins to serve: not while its own application runs."""

from __future__ import annotations

from dataclasses import replace

import pytest

from twofold.machine.events import PeerHeard
from twofold.machine.model import Job, Report, State, View
from twofold.machine.step import absorb

CLAIM = Report(state=State.WAIT, claim=7)
WAITING = View(state=State.WAIT, since_s=10.0, now_s=10.0, peer_heard_s=10.0)


def granted(view: View, report: Report = CLAIM) -> int:
    return absorb(view, PeerHeard(report), 10.1).grants


@pytest.mark.parametrize("job", [Job.STOPPING, Job.RECOVERING, Job.STEPPING_ASIDE])
def test_one_that_still_stops_what_ran_agrees_when_that_has_ended(job: Job) -> None:
    stopping = replace(WAITING, job=job)
    assert granted(stopping) == 0
    assert granted(replace(stopping, state=State.STOP, job=None)) == 7


@pytest.mark.parametrize("job", [None, Job.STARTING, Job.FORCING])
def test_one_that_runs_nothing_or_has_cut_it_off_agrees_at_once(job: Job | None) -> None:
    assert granted(replace(WAITING, job=job)) == 7


def test_what_was_agreed_to_stays_so() -> None:
    assert granted(replace(WAITING, job=Job.STOPPING, grants=7)) == 7
    assert granted(replace(WAITING, job=Job.STOPPING, grants=6)) == 0
