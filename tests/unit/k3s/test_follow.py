"""The watch on K3s: when it acts, how often, and that it never gives up and never hurries."""

from __future__ import annotations

from dataclasses import dataclass, field

from twofold.errors import MachineError
from twofold.k3s.follow import Follower, Health, Patience, sentences
from twofold.k3s.takeover import Duty, Report, Sight

DEAD = Sight("ALONE", "a", peer_heard=False)
BACK = Sight("ALONE", "a", peer_heard=True)


@dataclass
class Stage:
    seen: Sight | None = DEAD
    reports: list[Report | MachineError | None] = field(
        default_factory=list[Report | MachineError | None]
    )
    condition: Health | None = None
    time_s: float = 100.0
    acted: list[tuple[float, Duty]] = field(default_factory=list[tuple[float, Duty]])
    restarts: list[float] = field(default_factory=list[float])
    limited: list[float] = field(default_factory=list[float])
    said: list[str] = field(default_factory=list[str])

    def now_s(self) -> float:
        return self.time_s

    def sleep(self, seconds: float) -> None:
        self.time_s += seconds

    def sight(self) -> Sight | None:
        return self.seen

    def act(self, what: Duty) -> Report | None:
        self.acted.append((self.time_s - 100, what))
        given = self.reports.pop(0) if self.reports else Report()
        if isinstance(given, MachineError):
            raise given
        return given

    def health(self) -> Health | None:
        return self.condition

    def restart_k3s(self) -> None:
        self.restarts.append(self.time_s - 100)

    def limit_volumes(self) -> list[str]:
        self.limited.append(self.time_s - 100)
        return []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)


def play(stage: Stage, seconds: int, follower: Follower | None = None) -> Follower:
    follower = follower or Follower(stage)
    for _ in range(seconds // 2):
        follower.look()
        stage.sleep(2.0)
    return follower


def test_at_once_then_again_and_then_rarely() -> None:
    stage = Stage(reports=[Report(node="a", tainted=True, pods=["d/p"])])
    play(stage, 200)
    assert [at for at, _ in stage.acted] == [0, 2, 22, 82, 142]
    assert stage.said == ["a is out of service for Kubernetes", "deleted 1 pods of a"]


def test_what_failed_is_tried_again_with_growing_pauses() -> None:
    problem = Report(problems=["Kubernetes did not do GET /api/v1/nodes in time"])
    stage = Stage(reports=[problem] * 6)
    play(stage, 120)
    assert [at for at, _ in stage.acted][:6] == [0, 2, 6, 14, 30, 60]
    assert stage.said == ["not done yet: Kubernetes did not do GET /api/v1/nodes in time"]


def test_a_return_is_seen_at_once() -> None:
    stage = Stage()
    follower = play(stage, 10)
    stage.seen = BACK
    play(stage, 2, follower)
    assert stage.acted[-1] == (10, Duty.WELCOME)


def test_a_second_and_a_silent_daemon_have_no_duty() -> None:
    for seen in (Sight("SECOND", "a", True), None):
        stage = Stage(seen=seen)
        play(stage, 60)
        assert stage.acted == []


def test_errors_are_told_and_survived() -> None:
    stage = Stage(reports=[MachineError("no file")])
    play(stage, 20)
    assert stage.said == ["not now: no file"]
    assert len(stage.acted) > 1


def test_no_kubernetes_yet_is_nothing_to_tell() -> None:
    stage = Stage(reports=[None] * 10)
    play(stage, 60)
    assert stage.said == []
    assert [at for at, _ in stage.acted] == [0, 30]


def test_k3s_is_restarted_only_after_patience_and_seldom() -> None:
    stage = Stage(seen=None, condition=Health(active=True, datastore=True, ready=False))
    play(stage, 500)
    assert stage.restarts == [60, 360]


def test_k3s_without_datastore_or_stopped_by_a_person_is_left_alone() -> None:
    for condition in (Health(True, False, False), Health(False, True, False), None):
        stage = Stage(seen=None, condition=condition)
        play(stage, 500)
        assert stage.restarts == []


def test_patience_begins_anew_when_it_was_ready() -> None:
    patience = Patience()
    bad, good = Health(True, True, False), Health(True, True, True)
    assert not patience.is_over(bad, 0)
    assert not patience.is_over(good, 59)
    assert not patience.is_over(bad, 60)
    assert not patience.is_over(bad, 119)
    assert patience.is_over(bad, 120)


def test_sentences_name_what_was_left() -> None:
    said = sentences(Duty.DECLARE_DEAD, Report(node="a", leases=["k3s"], stopped=True))
    assert said == [
        "released the leases of a: k3s",
        "the other node is back, so nothing more was done for a dead one",
    ]


def test_volumes_are_limited_where_they_are_served_and_now_and_then() -> None:
    stage = Stage(seen=BACK)
    follower = play(stage, 60)
    assert stage.limited == [0, 30]
    stage.seen = Sight("SECOND", "b", peer_heard=True)
    play(stage, 60, follower)
    assert stage.limited == [0, 30]
