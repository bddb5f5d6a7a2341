"""The link as the secondary sees it: it dials, is let in, applies, reports.

`judge` is the primary's answer to a knock (`crates/mirror-fs/src/primary.rs`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tests.sim import generations
from tests.sim.link import Conn
from twofold.errors import TwofoldError
from twofold.machine.model import Generation

if TYPE_CHECKING:
    from tests.sim.engine import Engine, Waiting

DIAL_EVERY_S = 0.3
HANDSHAKE_S = 3.0


@dataclass(frozen=True)
class Hello:
    generation: Generation
    trusted: bool
    resume: tuple[int, int] | None


@dataclass(frozen=True)
class Welcome:
    kind: str  # resume, in sync, resync, refused
    session: int = 0
    epoch: int = 0


def judge(primary: Engine, hello: Hello) -> Welcome:
    """How the primary answers a knock."""
    theirs = hello.generation
    try:
        primary.stand_apart(theirs)
    except TwofoldError:
        return Welcome("refused")
    mine = primary.generation
    if primary.role != "primary" or theirs.epoch > mine.epoch:
        return Welcome("refused")
    if primary.phase == "lost" and primary.session != 0:
        if hello.resume is not None and primary.may_resume(*hello.resume):
            return Welcome("resume", primary.session)
        if primary.window:
            return Welcome("refused")
    session = primary.world.next_session()
    match generations.compare(mine, theirs):
        case "equal" if hello.trusted and primary.trusted:
            return Welcome("in sync", session, mine.epoch)
        case "equal" | "mine_newer" | "theirs_blank" | "diverged":
            return Welcome("resync", session, mine.epoch)
        case _:
            return Welcome("refused")


def serve(primary: Engine, secondary: Engine, hello: Hello, attempt: int, net: str) -> None:
    """A knock has come to the primary."""
    if primary.session != 0 and primary.phase == "attached":
        primary.give_up()
    welcome = judge(primary, hello)
    if welcome.kind == "refused":
        return
    conn = Conn(primary.world, net, primary, secondary)
    conn.on_end[primary.host.name] = primary.link_ended
    conn.send(primary.host.name, answered, secondary, conn, welcome, attempt)
    try:
        if welcome.kind == "resume":
            assert hello.resume is not None
            primary.resume(conn, hello.resume[1])
        else:
            primary.attach(conn, welcome.session, welcome.kind == "in sync")
    except TwofoldError:
        conn.close(primary.host.name)
    if not secondary.alive and secondary.host.power:
        conn.close(secondary.host.name)  # it ended while its knock waited; its kernel says so
    conn.review()


def answered(secondary: Engine, conn: Conn, welcome: Welcome, attempt: int) -> None:
    follower = secondary.follower
    if follower is None or follower.attempt != attempt or follower.conn is not None:
        conn.close(secondary.host.name)
        return
    try:
        follower.accept(conn, welcome)
    except TwofoldError:
        conn.close(secondary.host.name)


class Follower:
    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.conn: Conn | None = None
        self.session = 0
        self.applied = 0
        self.resyncing = False
        self.attempt = 0
        self._waiting_until_s = 0.0
        engine.world.clockwork.after(0.01, engine, self._dial)

    def _dial(self) -> None:
        """Again and again until it is let in."""
        engine, world = self.engine, self.engine.world
        if engine.follower is not self:
            return
        world.clockwork.after(DIAL_EVERY_S, engine, self._dial)
        if self.conn is not None or world.clockwork.now_s < self._waiting_until_s:
            return
        peer = world.other(engine.host)
        net = world.network.both_ways()
        target = peer.engine
        if net is None or not peer.power or target is None or not target.alive:
            return
        if target.role != "primary" or engine.host.disk.failing:
            return
        self.attempt += 1
        self._waiting_until_s = world.clockwork.now_s + HANDSHAKE_S
        if not target.stopped:
            self._waiting_until_s = world.clockwork.now_s + DIAL_EVERY_S
        delay_s = world.network.connected_delay_s(net, engine.host.name) * 2
        knock = (target, engine, self._hello(), self.attempt, net)
        world.clockwork.after(delay_s, target, serve, *knock)

    def _hello(self) -> Hello:
        g = self.engine.generation
        whole = not g.sync_target
        sound = whole and self.engine.trusted and not g.outdated
        may_resume = self.session != 0 and sound
        resume = (self.session, self.applied) if may_resume else None
        return Hello(g, self.engine.trusted and whole, resume)

    def accept(self, conn: Conn, welcome: Welcome) -> None:
        engine = self.engine
        g = engine.generation
        if welcome.kind != "resume":
            if welcome.kind == "resync":
                engine.trusted = False
            whole = welcome.kind == "in sync"
            engine.welcomed = 0
            engine.record(
                replace(
                    g,
                    epoch=max(g.epoch, welcome.epoch),
                    role="secondary",
                    clean=False,
                    sole=False,
                    outdated=g.outdated and not whole,
                    sync_target=g.sync_target or not whole,
                )
            )
            engine.welcomed = welcome.epoch
            self.session, self.applied, self.resyncing = welcome.session, 0, not whole
        self.conn = conn
        conn.on_end[engine.host.name] = self._ended
        engine.link_up = True
        engine.touch()

    def _ended(self, conn: Conn, why: str) -> None:
        if conn is self.conn:
            self.conn = None
            self.engine.link_up = False
            self.engine.touch()

    def hear(self, conn: Conn, number: int, waiting: Waiting) -> None:
        if conn is not self.conn or number <= self.applied:
            return
        engine, disk = self.engine, self.engine.host.disk
        if disk.failing:
            self._fail(conn)
            return
        try:
            self._perform(waiting)
        except TwofoldError:
            self._fail(conn)
            return
        self.applied = number
        peer = engine.world.other(engine.host).engine
        if peer is not None:
            conn.send(engine.host.name, peer.hear_applied, conn, number)

    def _perform(self, waiting: Waiting) -> None:
        engine, disk = self.engine, self.engine.host.disk
        if waiting.said == "resync end":
            engine.world.ledger.overwritten(engine.host, waiting.snapshot)
            disk.writes = list(waiting.snapshot)
            disk.synced = len(disk.writes)
            theirs = waiting.generation
            assert theirs is not None
            adopted = generations.adopt(engine.generation, theirs.current, theirs.history)
            engine.record(adopted)
            engine.trusted = True
            self.resyncing = False
            engine.touch()
        elif waiting.write is not None and not self.resyncing:
            if (
                engine.world.plant == "acknowledged before applied"
                and waiting.write.number % 9 == 0
            ):
                return
            engine.host.tick("engine")
            disk.writes.append(waiting.write.number)
            if waiting.write.sync:
                disk.synced = len(disk.writes)

    def _fail(self, conn: Conn) -> None:
        """This copy could not follow: it is none until a resync has ended."""
        engine = self.engine
        engine.trusted = False
        engine.failed = "io_error"
        engine.world.copy_cut(engine.host)
        conn.close(engine.host.name)
        self.conn = None
        engine.link_up = False
        engine.touch()

    def stop(self) -> None:
        if self.conn is not None:
            self.conn.close(self.engine.host.name)
            self.conn = None
        self.engine.link_up = False
