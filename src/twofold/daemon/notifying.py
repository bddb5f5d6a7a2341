"""Tells people what happened, once for the cluster: events of both nodes become one message.

One node sends: the one that serves the module, else the survivor, else the first by name. The other
passes its events on to it over the control channel, and sends them itself when nobody takes them.
So nothing is told twice, and nothing is lost by the death of one node.

The daemon has heartbeats to keep: each message is sent by a process of its own, one at a time for
each target, with a bound on its time. All queues are bounded, and what they drop is counted and
said in the next message. Unsent messages do not survive the daemon; the journal does.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twofold.config.load import NodeConfig
from twofold.config.schema_notify import NotifySection
from twofold.daemon.journal import Entry
from twofold.daemon.notify_secrets import read_secrets
from twofold.errors import CommandRefused, TwofoldError
from twofold.ports import ClockPort
from twofold.wire.notification import Happening, message, wanted

Body = Mapping[str, Any]
Send = Callable[[Mapping[str, Any]], Awaitable[str]]

HEARD_MAX = 500
MESSAGES_MAX = 20
GATHER_S = 2.0  # for one node's entries of one event
PASS_TIMEOUT_S = 5.0
PROCESS_TIMEOUT_S = 60.0
RETRY_AFTER_S = (5.0, 30.0, 120.0, 600.0, 1800.0)
HOUR_S = 3600.0


async def send_by_process(job: Mapping[str, Any]) -> str:
    """ "" when it was taken, else why not."""
    process = await asyncio.create_subprocess_exec(
        "nice", "-n", "10", sys.executable, "-m", "twofold.notify_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PROCESS_TIMEOUT_S):
            out, _ = await process.communicate(json.dumps(job).encode())
    except TimeoutError:
        return f"it did not end within {PROCESS_TIMEOUT_S:g} s"
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == 0:
        return ""
    return out.decode("utf-8", "replace")[:500] or "its process failed"


@dataclass
class Outbox:
    """One target: what waits, and when it was last sent to."""

    section: NotifySection
    waiting: deque[Happening] = field(default_factory=lambda: deque[Happening](maxlen=HEARD_MAX))
    more: asyncio.Event = field(default_factory=asyncio.Event)
    sent_s: deque[float] = field(default_factory=lambda: deque[float]())
    dropped: int = 0

    def put(self, happening: Happening) -> None:
        if len(self.waiting) == HEARD_MAX:
            self.dropped += 1
        self.waiting.append(happening)
        self.more.set()


class Notifying:
    """`sender_of(module)` says which node tells; `pass_on` hands entries to another node."""

    def __init__(
        self,
        node: NodeConfig,
        *,
        clock: ClockPort,
        sender_of: Callable[[str], str],
        pass_on: Callable[[str, Body, float], Awaitable[Body]],
        note: Callable[[str, str, str], None],
        send: Send = send_by_process,
    ) -> None:
        self._node = node
        self._clock = clock
        self._sender_of = sender_of
        self._pass_on = pass_on
        self._note = note
        self._send = send
        self._heard: deque[Happening] = deque(maxlen=HEARD_MAX)
        self._more = asyncio.Event()
        self._boxes = [Outbox(s) for s in node.cluster.notify]

    def hear(self, entry: Entry) -> None:
        """A listener of the journal: must not wait."""
        if not self._boxes or entry.code.startswith("notify."):
            return
        self._heard.append(
            Happening(
                self._node.name, entry.at, entry.module, entry.severity, entry.code, entry.sentence
            )
        )
        self._more.set()

    async def run(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._gather())
            for box in self._boxes:
                group.create_task(self._serve(box))

    # --- who tells --------------------------------------------------------------------------------

    async def _gather(self) -> None:
        while True:
            await self._more.wait()
            await self._clock.sleep(GATHER_S)
            self._more.clear()
            batch = list(self._heard)
            self._heard.clear()
            for sender in sorted({self._sender_of(h.module) for h in batch}):
                await self._hand(sender, [h for h in batch if self._sender_of(h.module) == sender])

    async def _hand(self, sender: str, batch: Sequence[Happening]) -> None:
        if sender != self._node.name:
            body = {"command": "peer_notify", "happenings": [vars(h) for h in batch]}
            try:
                await self._pass_on(sender, body, PASS_TIMEOUT_S)
                return
            except TwofoldError:
                pass  # then we tell
        self.take(batch)

    def take(self, batch: Sequence[Happening]) -> None:
        for box in self._boxes:
            s = box.section
            for happening in batch:
                if wanted(happening, s.severity, s.modules, s.events):
                    box.put(happening)

    async def peer_notify(self, caller: str, body: Body) -> dict[str, Any]:
        if caller not in {n.name for n in self._node.peers}:
            raise CommandRefused("peer_notify is a command between nodes")
        try:
            batch = [Happening.from_data(d) for d in list(body["happenings"])[:HEARD_MAX]]
        except (KeyError, TypeError, ValueError):
            raise CommandRefused("the events are not complete") from None
        self.take(batch)
        return {}

    # --- telling ----------------------------------------------------------------------------------

    async def _serve(self, box: Outbox) -> None:
        while True:
            await box.more.wait()
            await self._clock.sleep(box.section.group_s)
            await self._clock.sleep(self._throttled_s(box))
            box.more.clear()
            happenings, left_out = list(box.waiting), box.dropped
            box.waiting.clear()
            box.dropped = 0
            if happenings:
                told = message(self._node.cluster.cluster.name, happenings, left_out)
                await self._deliver(box, told)

    def _throttled_s(self, box: Outbox) -> float:
        """Until the next message may go; what happens meanwhile is in that one."""
        now_s = self._clock.monotonic_s()
        while box.sent_s and now_s - box.sent_s[0] >= HOUR_S:
            box.sent_s.popleft()
        if len(box.sent_s) < box.section.per_hour:
            return 0.0
        return box.sent_s[0] + HOUR_S - now_s

    async def _deliver(self, box: Outbox, told: Mapping[str, Any]) -> None:
        box.sent_s.append(self._clock.monotonic_s())
        why = ""
        for wait_s in (*RETRY_AFTER_S, None):
            why = await self._try(box.section, told)
            if not why:
                return
            if wait_s is not None:
                await self._clock.sleep(wait_s)
        sentence = f"notification {box.section.name} could not be sent and is given up: {why}"
        self._note(sentence, "alarm", "notify.failed")

    async def _try(self, section: NotifySection, told: Mapping[str, Any]) -> str:
        try:
            return await self._send(self._job(section, told))
        except (TwofoldError, OSError) as e:
            return str(e)

    def _job(self, section: NotifySection, told: Mapping[str, Any]) -> dict[str, Any]:
        secret = read_secrets(self._node.etc).get(section.name)
        return {
            "name": section.name,
            "kind": section.kind,
            "url": secret or section.url,
            "template": section.template,
            "script": section.script,
            "message": dict(told),
        }

    async def test(self, name: str | None) -> list[dict[str, Any]]:
        """One message to each target (or one of them), now; with what came of it."""
        now = Happening(
            self._node.name, self._clock.wall_s(), "", "info", "notify.test",
            "This is a test of the notifications; nothing is wrong.",
        )  # fmt: skip
        told = message(self._node.cluster.cluster.name, [now], 0)
        boxes = [b for b in self._boxes if name in (None, b.section.name)]
        if not boxes:
            known = ", ".join(b.section.name for b in self._boxes)
            raise CommandRefused(
                f"there is no notification {name!r}" if name else "no notification is configured",
                f"There are {known}." if known else "Add a [[notify]] section to cluster.toml.",
            )
        failures = await asyncio.gather(*(self._try(b.section, told) for b in boxes))
        return [
            {"name": b.section.name, "kind": b.section.kind, "ok": not f, "text": f or "taken"}
            for b, f in zip(boxes, failures, strict=True)
        ]
