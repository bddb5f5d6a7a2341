"""One seed from its beginning to its end: a pair, faults, then peace and what must come of it.

The phases: the pair is set up; faults and commands for half a minute, with the safety promises
checked at each step; all faults end, and the module serves by itself unless a row explains why not;
a person starts both, and the pair is whole; then the primary loses power once more.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.sim import faults, mishaps
from tests.sim.ledger import Broken
from tests.sim.starvation import is_starved
from tests.sim.world import SimWorld
from twofold.errors import BrokenInvariant
from twofold.machine.events import PrimAsked, StartAsked
from twofold.machine.model import SERVING, Readiness, State, View, Wish, readiness
from twofold.machine.sentences import explain
from twofold.machine.standing import Standing, standing

FAULTS_S = 24.0
PEACE_S = 16.0
TAKEN_OVER_WITHIN_S = 8.0  # the time-out, the ruling, the start of the application


@dataclass
class Outcome:
    seed: int
    failed: str = ""
    story: list[str] = field(default_factory=lambda: list[str]())
    steps: int = 0


def play(seed: int, telling: bool = False, plant: str = "", profile: str = "") -> Outcome:
    """Every promise holds, or `Outcome.failed` says which does not."""
    dice = random.Random(f"{seed} world")
    chosen = dice.choice(tuple(faults.PROFILES))
    world = SimWorld(seed, telling, **faults.settings(dice))
    world.plant = plant
    outcome = Outcome(seed)
    try:
        _story(world, dice, profile or chosen, seed)
    except (Broken, BrokenInvariant, AssertionError) as e:
        outcome.failed = f"{type(e).__name__}: {e}"
    outcome.story = world.clockwork.story
    outcome.steps = world.clockwork.steps
    return outcome


def _story(world: SimWorld, dice: random.Random, profile: str, seed: int) -> None:
    world.clockwork.write(f"== profile {profile}, {world.settings}")
    for host in world.hosts.values():
        host.clock_rate = dice.choice((1.0, 1.0, 0.98, 1.02))
    _set_up(world)
    if is_starved(seed) and profile != "weather":
        world.starve(FAULTS_S + 4.0)
    if mishaps.has_mishaps(seed) and profile not in ("weather", "one crash"):
        mishaps.plan(world, seed, FAULTS_S)
    _trouble(world, dice, profile)
    faults.heal(world)
    _peace(world, profile)


def _set_up(world: SimWorld) -> None:
    world.run(1.0)
    world.ask("a", PrimAsked())
    world.ask("b", StartAsked())
    for _ in range(10):
        world.run(2.0)
        if _whole(world):
            return
    raise Broken(f"the pair does not come up: {world.picture()}")


def _trouble(world: SimWorld, dice: random.Random, profile: str) -> None:
    choices = faults.PROFILES[profile]
    kinds = set(choices)
    world.may_be_cut = bool(kinds & {faults.cut, faults.bad_weather})
    world.may_stall = faults.stall in kinds
    count = 1 if profile == "one crash" else dice.randint(2, 9)
    count = count if choices else 0
    for _ in range(count):
        at_s = dice.uniform(0.0, FAULTS_S)
        fault, host = dice.choice(choices), world[dice.choice("ab")]
        world.clockwork.after(at_s, None, fault, world, host)
    if profile == "weather":
        for way in world.network.ways.values():
            way.loss, way.spread_s = dice.uniform(0.0, 0.3), dice.uniform(0.0, 0.3)
    world.run(FAULTS_S + 4.0)
    if profile == "weather" and any(world.view(n).failovers for n in "ab"):
        raise Broken(f"a false alarm: {world.picture()}")


def _peace(world: SimWorld, profile: str) -> None:
    world.run(PEACE_S)
    _somebody_serves(world)
    for _ in range(3):
        if _whole(world):
            break
        for name in "ab":
            world.ask(name, StartAsked())
        world.run(PEACE_S)
        if not _whole(world):
            _decide_as_a_person(world)
    world.writing = False
    world.run(3.0)
    world.ledger.whole_pair()
    world.ledger.a_split_was_told()
    _survives_the_next_power_cut(world)


def _survives_the_next_power_cut(world: SimWorld) -> None:
    """What a pair that calls itself whole is for. That no write is missing, the ledger sees."""
    if not world.settings_of("a").failover:
        return
    primary, second = sorted("ab", key=lambda n: world.view(n).state is State.SECOND)
    world.power_cut(world[primary])
    world.run(TAKEN_OVER_WITHIN_S)
    view = world.view(second)
    if view.state is not State.ALONE or view.job is not None or not world[second].app.running:
        raise Broken(f"a power cut of {primary}, and {second} does not serve: {world.picture()}")


def _whole(world: SimWorld) -> bool:
    views = [world.view(n) for n in "ab"]
    states = sorted(v.state.value for v in views)
    ready = all(readiness(v) is Readiness.READY for v in views)
    return states == ["PRIM", "SECOND"] and ready


def _somebody_serves(world: SimWorld) -> None:
    """Liveness: the module serves, or what each node says explains why not."""
    for _ in range(8):  # a swap, or a late power cut, may be under way; it has to end
        if not any(world.view(n).job or not world[n].power for n in "ab"):
            break
        world.run(2.0)
    views = [world.view(n) for n in "ab"]
    if sum(v.state in SERVING for v in views) > 1:
        raise Broken(f"both serve in peace: {world.picture()}")
    if any(v.state in SERVING and v.job is None for v in views):
        return
    for name in "ab":
        view = world.view(name)
        if not explained(view, world.view("b" if name == "a" else "a")):
            sentences = " | ".join(explain(world.view(n), "files")[0] for n in "ab")
            raise Broken(f"nobody serves, and {name} does not say why: {sentences}")


def explained(view: View, other: View) -> bool:
    """A person reads this node's sentence and knows what to do."""
    if view.state is State.STOP:
        return True  # by a command, or max_loops with an alarm
    if view.state is State.SECOND:
        return not view.settings.failover or view.unwell != ()
    if view.state is not State.WAIT:
        return False
    if view.unwell:
        return True
    if view.job is not None:
        return view.engine is None  # the engine does not start; it says so
    if view.wish is Wish.SECOND or view.now_s < view.rest_until_s:
        return True
    answer = standing(view)
    if answer in (Standing.BOTH_WENT_ON, Standing.STRANGERS, Standing.NO_DATA):
        return True
    waits_for_other = (Standing.OLDER, Standing.NOT_SURE, Standing.OUTDATED, Standing.HALF_COPY)
    if answer in (*waits_for_other, Standing.OTHERS_TURN):
        return (
            other.state is State.STOP
            or other.wish is Wish.SECOND
            or answer is not (Standing.OTHERS_TURN)
        )
    return False


def _decide_as_a_person(world: SimWorld) -> None:
    """Both wait for a word: choose the one with the better data, as the sentence says."""
    if any(world.view(n).state in SERVING for n in "ab"):
        return
    ranked = sorted("ab", key=lambda n: _worth(world, n), reverse=True)
    world.ask(ranked[0], PrimAsked(force=True))
    world.run(PEACE_S)


def _worth(world: SimWorld, name: str) -> tuple[bool, int]:
    return (not world[name].disk.generation.sync_target, len(world[name].disk.writes))
