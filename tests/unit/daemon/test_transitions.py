"""The script `transition` hears of every change, in order, and can hold up nothing."""

from __future__ import annotations

import asyncio

from twofold.daemon.transitions import UNTOLD_MAX, Transitions
from twofold.errors import StartFailed
from twofold.machine.model import State


class Script:
    """Takes as long as it is told, and may fail."""

    def __init__(self, takes_s: float = 0.0, fails: bool = False) -> None:
        self.takes_s, self.fails = takes_s, fails
        self.heard: list[tuple[str, ...]] = []

    async def __call__(self, *arguments: str) -> None:
        self.heard.append(arguments)
        await asyncio.sleep(self.takes_s)
        if self.fails:
            raise StartFailed("The script transition of files ended with exit code 1.")


async def untold(script: Script, count: int) -> None:
    async with asyncio.timeout(5):
        while len(script.heard) < count:
            await asyncio.sleep(0.002)


async def test_changes_are_told_in_order_with_their_reason() -> None:
    script, alarms = Script(0.01), list[str]()
    transitions = Transitions(script, alarms.append)
    transitions.tell(State.STOP, State.WAIT, "a person asked for a start")
    transitions.tell(State.WAIT, State.PRIM, "it is a's turn")
    assert script.heard == [], "nobody waits for it"
    await untold(script, 2)
    assert script.heard == [
        ("transition", "STOP", "WAIT", "a person asked for a start"),
        ("transition", "WAIT", "PRIM", "it is a's turn"),
    ]
    await transitions.close()
    assert alarms == []


async def test_one_that_hangs_is_ended_and_the_next_change_is_told() -> None:
    script, alarms = Script(60.0), list[str]()
    transitions = Transitions(script, alarms.append, bound_s=0.02)
    transitions.tell(State.STOP, State.WAIT, "one")
    transitions.tell(State.WAIT, State.STOP, "two")
    await untold(script, 2)
    await transitions.close()
    assert alarms[0] == "the script transition did not end within 0.02 s"


async def test_one_that_fails_is_an_alarm_and_nothing_else() -> None:
    script, alarms = Script(fails=True), list[str]()
    transitions = Transitions(script, alarms.append)
    transitions.tell(State.STOP, State.WAIT, "one")
    transitions.tell(State.WAIT, State.STOP, "two")
    await untold(script, 2)
    await asyncio.sleep(0.01)
    assert len(alarms) == 2 and "exit code 1" in alarms[0]
    await transitions.close()


async def test_a_slow_one_misses_the_oldest_changes_and_that_is_said() -> None:
    script, alarms = Script(60.0), list[str]()
    transitions = Transitions(script, alarms.append)
    transitions.tell(State.STOP, State.WAIT, "being told")
    await untold(script, 1)
    for number in range(UNTOLD_MAX + 2):
        transitions.tell(State.WAIT, State.ALONE, str(number))
    assert alarms == ["the script transition is too slow: ALONE was not told to it"] * 2
    await transitions.close()
    assert len(script.heard) == 1
