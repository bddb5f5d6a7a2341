"""Something goes wrong within moments of a swap, and may be over before anybody has noticed.

Some seeds have such mishaps, and in them no application ends while its writes wait. As with
starvation, the dice are their own, and a seed that was kept before there were any has none.
"""

from __future__ import annotations

import random

from tests.sim import faults
from tests.sim.host import Host
from tests.sim.kept import from_before
from tests.sim.world import SimWorld
from twofold.machine.events import SwapAsked
from twofold.machine.model import SERVING

SHARE = 0.15  # of the seeds
MARK = "# since there are mishaps\n"


def has_mishaps(seed: int) -> bool:
    return seed not in from_before(MARK) and random.Random(f"{seed} mishaps").random() < SHARE


def plan(world: SimWorld, seed: int, seconds: float) -> None:
    dice = random.Random(f"{seed} mishaps planned")
    world.writes_hold_applications = True
    for _ in range(dice.randint(1, 3)):
        world.clockwork.after(dice.uniform(0.0, seconds), None, _swap, world, dice)


def _swap(world: SimWorld, dice: random.Random) -> None:
    serving = [n for n in "ab" if world[n].daemon and world.view(n).state in SERVING]
    if not serving:
        return
    primary = world[serving[0]]
    host = primary if dice.random() < 0.3 else world.other(primary)
    choices = [_blink, _blink, _kill_engine, _kill_daemon]
    # Where the world has such faults anyway: what they excuse is excused there, and only there.
    if world.may_be_cut:
        choices += [_cut, _cut]
    if world.may_stall:
        choices += [_freeze, _freeze]
    asked_s, happens_s = dice.uniform(0.0, 0.6), dice.uniform(0.0, 1.5)
    world.clockwork.after(asked_s, None, world.ask, primary.name, SwapAsked())
    world.clockwork.after(happens_s, None, dice.choice(choices), world, host, dice)


def _blink(world: SimWorld, host: Host, dice: random.Random) -> None:
    """Power is gone for less than the time-out, sometimes after a moment without an answer."""
    if host.engine is not None and host.engine.alive and dice.random() < 0.5:
        world.stop_process(host, host.engine)
    after_s = dice.uniform(0.0, 0.5)
    world.clockwork.after(after_s, None, world.power_cut, host)
    world.clockwork.after(after_s + dice.uniform(0.2, 2.0), None, world.power_on, host)


def _cut(world: SimWorld, host: Host, dice: random.Random) -> None:
    """What one node says does not arrive for a moment, or for a little longer than the time-out."""
    ways = [way for (_net, source), way in world.network.ways.items() if source == host.name]
    world.clockwork.write(f"-- nothing that {host.name} says arrives")
    for way in ways:
        way.up = False
    world.review()

    def healed() -> None:
        world.clockwork.write(f"-- what {host.name} says arrives")
        for way in ways:
            way.up = True
        world.review()

    world.clockwork.after(dice.uniform(0.05, 4.0), None, healed)


def _kill_engine(world: SimWorld, host: Host, _dice: random.Random) -> None:
    faults.kill_engine(world, host)


def _kill_daemon(world: SimWorld, host: Host, dice: random.Random) -> None:
    world.kill_daemon(host, dice.uniform(0.2, 2.0))


def _freeze(world: SimWorld, host: Host, dice: random.Random) -> None:
    processes = [p for p in (host.daemon, host.engine) if p is not None and p.alive]
    chosen = [p for p in processes if not p.stopped and dice.random() < 0.6]
    world.clockwork.write(f"-- {len(chosen)} processes of {host.name} are stopped")
    for process in chosen:
        world.stop_process(host, process)

    def goes_on() -> None:
        world.clockwork.write(f"-- the processes of {host.name} go on")
        for process in chosen:
            world.continue_process(process)

    world.clockwork.after(dice.uniform(0.1, 4.0), None, goes_on)
