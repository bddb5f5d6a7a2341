"""What a seed does to its world: a profile, then faults and commands at chosen moments.

A fault that lasts is taken back after a while; `heal` takes all of them back at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.sim.host import Host
from tests.sim.network import NETWORKS
from tests.sim.world import SimWorld
from twofold.machine.events import (
    CheckerTripped,
    Event,
    PrimAsked,
    RestartAsked,
    SecondAsked,
    StartAsked,
    StopAsked,
    SwapAsked,
)
from twofold.machine.model import State

Fault = Callable[[SimWorld, Host], None]

COMMANDS: tuple[Event, ...] = (
    StartAsked(),
    StopAsked(),
    PrimAsked(),
    SecondAsked(),
    SwapAsked(),
    SwapAsked(),
    SwapAsked(),
    RestartAsked(),
)


def _briefly(world: SimWorld) -> float:
    """Most faults are short, or about as long as the timeout; some are long."""
    long = world.clockwork.chance(0.3)
    return world.clockwork.between(2.0, 12.0) if long else world.clockwork.between(0.05, 4.0)


def power_cut(world: SimWorld, host: Host) -> None:
    world.power_cut(host)
    world.clockwork.after(world.clockwork.between(1.0, 10.0), None, world.power_on, host)


def power_cut_of_both(world: SimWorld, host: Host) -> None:
    power_cut(world, host)
    delay_s = world.clockwork.between(0.0, 0.5 if world.clockwork.chance(0.5) else 6.0)
    world.clockwork.after(delay_s, None, power_cut, world, world.other(host))


def doom(world: SimWorld, host: Host) -> None:
    """It ends at one of its next points of crash."""
    what = world.clockwork.dice.choice(("daemon", "engine", "power"))
    host.doom = (what, world.clockwork.dice.randint(0, 12))


def power_off(world: SimWorld, host: Host) -> None:
    """systemctl poweroff: the daemon is asked to stop everything, then the power goes."""
    world.ask(host.name, StopAsked("systemd", keep_wanted=True))
    world.clockwork.after(0.5, None, _off_when_stopped, world, host, 30)


def _off_when_stopped(world: SimWorld, host: Host, looks: int) -> None:
    view = world.view(host.name)
    if host.power and (view.state is not State.STOP or view.job) and looks:
        world.clockwork.after(0.5, None, _off_when_stopped, world, host, looks - 1)
        return
    if not world.at_peace:
        power_cut(world, host)


def kill_daemon(world: SimWorld, host: Host) -> None:
    world.kill_daemon(host, world.clockwork.between(0.2, 4.0))


def kill_engine(world: SimWorld, host: Host) -> None:
    world.end_engine(host, "killed")


def application_dies(world: SimWorld, host: Host) -> None:
    world.clockwork.write(f"-- the application of {host.name} dies, if it runs")
    world.application_ends(host)


def application_does_not_start(world: SimWorld, host: Host) -> None:
    host.app.starts_fail = world.clockwork.dice.randint(1, 6)
    world.clockwork.write(f"-- the next {host.app.starts_fail} starts on {host.name} fail")


def stop_fails(world: SimWorld, host: Host) -> None:
    """The stop script reports an error, or a process cannot be ended."""
    stuck = world.clockwork.chance(0.4)
    world.clockwork.write(f"-- stops on {host.name} fail {'for good' if stuck else ''}")
    host.app.stuck, host.app.stop_errs = stuck, not stuck

    def mended() -> None:
        host.app.stuck = host.app.stop_errs = False

    world.clockwork.after(world.clockwork.between(1.0, 12.0), None, mended)


def checker_fails(world: SimWorld, host: Host) -> None:
    action = world.clockwork.dice.choice(("restart", "failover", "stop", "none"))
    world.ask(host.name, CheckerTripped("tcp", action, "no connection"))


def checker_waits(world: SimWorld, host: Host) -> None:
    """What the application needs is out of reach for a while, for one node or for both."""
    hosts = [host] if world.clockwork.chance(0.7) else list(world.hosts.values())
    world.clockwork.write(f"-- the gateway of {' and '.join(h.name for h in hosts)} is gone")
    for each in hosts:
        each.unwell = True

    def back() -> None:
        world.clockwork.write(f"-- the gateway of {' and '.join(h.name for h in hosts)} is back")
        for each in hosts:
            each.unwell = False

    world.clockwork.after(_briefly(world) + 2.0, None, back)


def command(world: SimWorld, host: Host) -> None:
    world.ask(host.name, world.clockwork.dice.choice(COMMANDS))


def force(world: SimWorld, host: Host) -> None:
    world.ask(host.name, PrimAsked(force=True))


def disk_fails(world: SimWorld, host: Host) -> None:
    world.clockwork.write(f"-- the disk of {host.name} fails")
    host.disk.failing = True

    def mended() -> None:
        world.clockwork.write(f"-- the disk of {host.name} is mended")
        host.disk.failing = False

    world.clockwork.after(world.clockwork.between(2.0, 10.0), None, mended)


def stall(world: SimWorld, host: Host) -> None:
    """SIGSTOP of the daemon, of the engine, or of the whole machine; its clock may stop too."""
    kind = world.clockwork.dice.choice(("daemon", "engine", "machine", "machine"))
    stopped = {
        "daemon": [host.daemon],
        "engine": [host.engine],
        "machine": [host.daemon, host.engine],
    }[kind]
    processes = [p for p in stopped if p is not None and p.alive and not p.stopped]
    clock_stops = kind == "machine" and world.clockwork.chance(0.5)
    world.clockwork.write(f"-- {kind} of {host.name} is stopped")
    for process in processes:
        world.stop_process(host, process)
    began_s = world.clockwork.now_s

    def goes_on() -> None:
        world.clockwork.write(f"-- {kind} of {host.name} goes on")
        if clock_stops and host.power:
            host.leave_out(world.clockwork.now_s - began_s)
        for process in processes:
            world.continue_process(process)

    world.clockwork.after(_briefly(world), None, goes_on)


def calendar_is_set(world: SimWorld, host: Host) -> None:
    """Days forth or back: nothing that is decided may depend on it, but when failures count."""
    days = world.clockwork.between(-3.0, 3.0)
    world.clockwork.write(f"-- the calendar of {host.name} is set by {days:+.1f} days")
    host.wall_offset_s += days * 86400.0


def cut(world: SimWorld, host: Host) -> None:
    """One or both networks, one or both directions, with or without the way to the witness."""
    dice = world.clockwork.dice
    nets = dice.choice((NETWORKS, NETWORKS, NETWORKS[:1], NETWORKS[1:]))
    sources = dice.choice(("ab", "ab", "a", "b"))
    ways = [world.network.ways[net, source] for net in nets for source in sources]
    world.clockwork.write(f"-- {' and '.join(nets)} cut for what {' and '.join(sources)} say")
    for way in ways:
        way.up = False
    alone = dice.choice(("", "", "a", "b", "ab"))
    for name in alone:
        world.network.witness[name] = False
    world.review()

    def healed() -> None:
        world.clockwork.write(f"-- {' and '.join(nets)} healed")
        for way in ways:
            way.up = True
        for name in alone:
            world.network.witness[name] = True
        world.review()

    world.clockwork.after(_briefly(world), None, healed)


def witness_dies(world: SimWorld, host: Host) -> None:
    """It keeps what it has on disk; a majority of several may still rule."""
    number = world.clockwork.dice.randrange(len(world.arbiter.alive))
    world.clockwork.write(f"-- witness {number} dies")
    world.arbiter.alive[number] = False

    def back() -> None:
        world.arbiter.alive[number] = True

    world.clockwork.after(_briefly(world), None, back)


def bad_weather(world: SimWorld, host: Host) -> None:
    """Loss and delay on every network for a while."""
    loss, spread_s = world.clockwork.between(0.0, 0.6), world.clockwork.between(0.0, 1.5)
    world.clockwork.write(f"-- loss {loss:.0%}, delays up to {spread_s:.1f} s")
    for way in world.network.ways.values():
        way.loss, way.spread_s = loss, spread_s

    def calm() -> None:
        for way in world.network.ways.values():
            way.loss, way.spread_s = 0.0, 0.001

    world.clockwork.after(_briefly(world), None, calm)


CRASHES: tuple[Fault, ...] = (
    power_cut, doom, doom, kill_daemon, kill_engine, power_off, calendar_is_set,
)  # fmt: skip
APPLICATION: tuple[Fault, ...] = (
    application_dies, application_does_not_start, checker_fails, checker_waits,
)  # fmt: skip
PEOPLE: tuple[Fault, ...] = (command, command)
PROFILES: dict[str, tuple[Fault, ...]] = {
    "people": (*PEOPLE, *APPLICATION, command),
    "crashes": (*CRASHES, *PEOPLE, *APPLICATION, power_cut_of_both),
    "one crash": (power_cut, doom, kill_engine, kill_daemon, power_off),
    "network": (cut, cut, bad_weather, witness_dies, command),
    "stalls": (stall, stall, command),
    "everything": (
        *CRASHES,
        *PEOPLE,
        *APPLICATION,
        power_cut_of_both,
        cut,
        cut,
        cut,
        bad_weather,
        witness_dies,
        stall,
        stall,
        disk_fails,
        stop_fails,
        force,
    ),
    "disks": (disk_fails, stop_fails, application_dies, command),
    "weather": (),
}


def settings(world_dice: Any) -> dict[str, Any]:
    """What the administrator of this world has configured."""
    return {
        "failover": world_dice.random() > 0.1,
        "default_primary": world_dice.choice(("none", "none", "last", "a", "b")),
        "max_loops": world_dice.choice((1, 3, 5, 20)),
        "arbitration": world_dice.choice(("none", "none", "witness", "witness", "ping")),
        "witnesses": world_dice.choice((1, 3)),
        "waits_for": world_dice.choice(((), ("gateway",))),
    }


def heal(world: SimWorld) -> None:
    """No faults any more; machines that are off are switched on."""
    world.clockwork.write("== all faults end")
    world.at_peace = True
    world.network.heal()
    world.arbiter.alive = [True] * len(world.arbiter.alive)
    for host in world.hosts.values():
        host.doom = None
        host.disk.failing = host.unwell = False
        host.app.stuck = host.app.stop_errs = False
        host.app.starts_fail = 0
        for process in host.processes():
            world.continue_process(process)
        world.power_on(host)
        world.start_daemon(host)
    world.review()
