"""Two machines and a person who does anything at any moment: never two that serve.

Hypothesis chooses the order in which messages arrive, actions are done and commands are given. In a
fault-free world (messages arrive in order, nobody dies) no two nodes serve at the same time, let
alone in the same epoch, and in the end one serves if any was ever started and not stopped.
"""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.world import World
from twofold.machine.events import (
    CheckerTripped,
    Event,
    PrimAsked,
    RestartAsked,
    SecondAsked,
    ServiceExited,
    StartAsked,
    StopAsked,
    SwapAsked,
)
from twofold.machine.model import State

COMMANDS: dict[str, Event] = {
    "start": StartAsked(),
    "stop": StopAsked(),
    "prim": PrimAsked(),
    "prim --yes": PrimAsked(force=True),
    "second": SecondAsked(),
    "swap": SwapAsked(),
    "restart": RestartAsked(),
    "service dies": ServiceExited("app", "ended with code 1"),
    "checker": CheckerTripped("tcp", "failover", "no connection"),
}
MOVES = ("deliver", "work", "replicate", "beat")
NODES = st.sampled_from(["a", "b"])
FREE = st.tuples(NODES, st.sampled_from(MOVES * 3 + tuple(COMMANDS)))


def move(world: World, node: str, what: str) -> None:
    machine = world[node]
    match what:
        case "deliver":
            world.deliver(node)
        case "work":
            world.work(node)
        case "replicate":
            world.replicate()
        case "beat":
            world.other(node).inbox.append(machine.said)
        case "service dies":
            if machine.app:
                world.fail_quietly(node)
        case command:
            world.tell(node, COMMANDS[command])


def check(world: World) -> None:
    serving = [m for m in world.machines.values() if m.alive and m.engine.role == "primary"]
    running = [m for m in world.machines.values() if m.alive and m.app]
    addresses = [m for m in world.machines.values() if m.alive and m.address]
    text = "\n".join(world.story[-40:])
    epochs = [m.engine.disk.epoch for m in serving]
    assert len(set(epochs)) == len(epochs), f"two serve in epoch {epochs}\n{text}"
    assert len(serving) < 2, f"two engines are primary\n{text}"
    assert len(running) < 2, f"the application runs on both\n{text}"
    assert len(addresses) < 2, f"both hold the address\n{text}"


SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large]


@settings(max_examples=250, deadline=None, suppress_health_check=SLOW)
@given(st.lists(FREE, max_size=120))
def test_never_two_serve_from_nothing(moves: list[tuple[str, str]]) -> None:
    world = World()
    for node, what in moves:
        move(world, node, what)
        check(world)
    world.settle()
    check(world)


@settings(max_examples=250, deadline=None, suppress_health_check=SLOW)
@given(st.lists(FREE, max_size=120))
def test_never_two_serve_from_a_whole_pair(moves: list[tuple[str, str]]) -> None:
    world = World(max_loops=10)
    world.ask("a", PrimAsked())
    world.ask("b", StartAsked())
    assert world.states() == "a=PRIM b=SECOND"
    for node, what in moves:
        move(world, node, what)
        check(world)
    world.settle()
    check(world)


@settings(max_examples=100, deadline=None, suppress_health_check=SLOW)
@given(st.lists(FREE, max_size=80))
def test_after_anything_a_start_brings_the_pair_back(moves: list[tuple[str, str]]) -> None:
    """Liveness: whatever was asked before, a person who starts both gets a whole pair."""
    world = World(max_loops=50)
    world.ask("a", PrimAsked())
    world.ask("b", StartAsked())
    for node, what in moves:
        move(world, node, what)
    world.settle()
    world.pass_time(12)
    for node in ("a", "b"):
        world.ask(node, StartAsked())
    world.pass_time(12)
    check(world)
    states = {m.view.state for m in world.machines.values()}
    assert states == {State.PRIM, State.SECOND}, "\n".join(world.story[-60:])
