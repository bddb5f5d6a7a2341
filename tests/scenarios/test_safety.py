"""Two machines and a person who does anything at any moment: never two that serve.

A seed chooses the order in which messages arrive, actions are done and commands are given. In a
fault-free world (messages arrive in order, nobody dies) no two nodes serve at the same time, let
alone in the same epoch, and in the end one serves if any was ever started and not stopped.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Generator

import pytest

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
    epochs = [m.engine.disk.epoch for m in serving]
    assert len(set(epochs)) == len(epochs), f"two serve in epoch {epochs}"
    assert len(serving) < 2, "two engines are primary"
    assert len(running) < 2, "the application runs on both"
    assert len(addresses) < 2, "both hold the address"


@contextlib.contextmanager
def replay_told(seed: int, world: World) -> Generator[None]:
    """A failure names its seed and tells the story."""
    try:
        yield
    except AssertionError as e:
        raise AssertionError(f"seed {seed}: {e}\n" + "\n".join(world.story[-50:])) from None


def walk(world: World, seed: int, steps: int) -> None:
    """`steps` random moves; commands come now and then, so that things may happen in between."""
    dice = random.Random(seed)
    commands = tuple(COMMANDS)
    for _ in range(steps):
        node = dice.choice("ab")
        what = dice.choice(MOVES) if dice.random() < 0.85 else dice.choice(commands)
        move(world, node, what)
        check(world)


def pair() -> World:
    world = World(max_loops=1000)
    world.ask("a", PrimAsked())
    world.ask("b", StartAsked())
    assert world.states() == "a=PRIM b=SECOND"
    return world


@pytest.mark.parametrize("block", range(4))
def test_never_two_serve_from_nothing(block: int) -> None:
    for seed in range(block * 50, block * 50 + 50):
        world = World(max_loops=1000)
        with replay_told(seed, world):
            walk(world, seed, 150)
            world.settle()
            check(world)


@pytest.mark.parametrize("block", range(4))
def test_never_two_serve_and_a_start_brings_the_pair_back(block: int) -> None:
    """Safety at each step; then liveness: a person who starts both gets a whole pair."""
    for seed in range(block * 40, block * 40 + 40):
        world = pair()
        with replay_told(seed, world):
            walk(world, seed, 150)
            world.settle()
            world.pass_time(12)
            for node in ("a", "b"):
                world.ask(node, StartAsked())
            world.pass_time(12)
            check(world)
            states = {m.view.state for m in world.machines.values()}
            assert states == {State.PRIM, State.SECOND}, world.picture()
