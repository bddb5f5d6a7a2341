"""Volumes and datastore when the primary's machine dies: nothing acknowledged is missing, nobody
sees ESTALE or EIO, locks are taken up again, the file system and both copies are whole.
"""

from __future__ import annotations

import json
import os
import time
from typing import Any

import pytest

from . import installer, kept
from .guest import PATIENCE
from .pair import NODES, Pair, other, progress
from .results import Results
from .volumes import (
    DIRECTORY,
    EXPORT,
    MODULE,
    MOUNT,
    KineClients,
    VolumeWriter,
    lock_of,
    mount,
)

# What the return of a machine may send: the image of 100 GiB holds some hundred MiB by then, of
# which a cut of the primary leaves a few in doubt.
RESYNC_BOUND = 512 << 20
KILLS = int(os.environ.get("TWOFOLD_VM_KILLS", "10"))
# No further kill is begun after so long: a machine with other work has fewer, and says how many.
WITHIN_S = 60 * float(os.environ.get("TWOFOLD_VM_MINUTES", "inf"))
pytestmark = [pytest.mark.vm, pytest.mark.timeout((3600 + 900 * KILLS) * PATIENCE)]


def formed(bare: Pair) -> None:
    """By the installer, unless it was there before."""
    if not bare.is_formed() or bare.state("a", MODULE).get("state") is None:
        installer.install(bare)
        kept.save(bare)


def served(bare: Pair) -> None:
    """Formed, and the volumes mounted on both; a test before may have left it stopped."""
    formed(bare)
    if not any(bare.serves(node, MODULE) for node in NODES):
        bare.both(f"twofold start {MODULE}", timeout_s=600)
    bare.wait_both_ready(MODULE, 900)
    for node in NODES:
        if bare[node].try_run(f"mountpoint -q {MOUNT}").returncode != 0:
            mount(bare, node)


@pytest.fixture(scope="module")
def volumes(bare: Pair) -> Pair:
    formed(bare)
    for node in NODES:
        mount(bare, node)
    return bare


class Users:
    """The programs on the volumes of both nodes; those of a dead machine are begun again."""

    def __init__(self, pair: Pair, results: Results) -> None:
        self._pair, self._results = pair, results
        self._ended: list[VolumeWriter] = []
        self.running: dict[tuple[str, bool], VolumeWriter] = {}
        self._next = 1

    def begin(self, node: str) -> None:
        for with_lock in (False, True):
            name = f"{'locked' if with_lock else 'plain'}-{node}-{self._next}"
            writer = VolumeWriter(self._pair, node, name, self._next * 1_000_000, with_lock)
            self.running[node, with_lock] = writer
            self._next += 1
        assert self.running[node, True].locked.wait(180 * PATIENCE), (
            f"no lock was to be had on {node}"
        )

    def end(self, node: str) -> None:
        for with_lock in (False, True):
            writer = self.running.pop((node, with_lock))
            writer.stop()
            self._ended.append(writer)

    def wait_more(self, further: int) -> None:
        for writer in list(self.running.values()):
            writer.wait_more(further)

    def judge(self, reader: str) -> list[str]:
        lost: list[str] = []
        for writer in self._ended:
            of_writer = writer.lost(self._pair, reader)
            self._results.count(writer.count, len(of_writer))
            self._results.saw(writer.errors)
            lost += of_writer
        return lost

    def errors(self) -> list[str]:
        return [error for w in [*self._ended, *self.running.values()] for error in w.errors]


def test_the_primary_is_killed_again_and_again(volumes: Pair, results: Results) -> None:
    users = Users(volumes, results)
    kine = KineClients(volumes)
    try:
        for node in NODES:
            users.begin(node)
        begun = time.monotonic()
        for _ in range(KILLS):
            _kill_once(volumes, users, kine, results)
            if time.monotonic() - begun > WITHIN_S:
                break
        kine.stop_writing()
        for node in NODES:
            users.end(node)
        volumes.wait_both_ready(MODULE, 900)  # a starved guest may be restarting its datastore
        lost = kine.lost()
        results.count(kine.count, len(lost))
        assert lost + users.judge(volumes.primary(MODULE)) == []
    finally:
        kine.close()
        for writer in users.running.values():
            writer.stop()
    assert users.errors() == []
    check_at_rest(volumes)


def _kill_once(volumes: Pair, users: Users, kine: KineClients, results: Results) -> None:
    users.wait_more(5)
    kine.wait_more(5)
    # Only now: while they were waited for, the service may have moved.
    victim = volumes.primary(MODULE)
    survivor = other(victim)
    event = time.monotonic()
    volumes[victim].power_cut()
    results.kills += 1
    users.end(victim)
    users.wait_more(5)  # those of the survivor, on its own server now
    kine.wait_more(5)
    for name, ms in (
        ("nfs", users.running[survivor, False].outage_ms(event)),
        ("nfs with lock", users.running[survivor, True].outage_ms(event)),
        ("kine", kine.outage_ms(event)),
    ):
        assert ms is not None
        results.outage(name, ms)
    progress(f"{victim} is dead; {survivor} serves, all went on")
    volumes.back(victim)
    volumes.wait_both_ready(MODULE, 900)
    resync: dict[str, Any] | None = volumes.state(survivor, MODULE).get("last_resync")
    assert resync is not None, "it came back without a resync?"
    results.resyncs.append(resync)
    progress(f"{victim} is back; resync: {resync}")
    assert resync["bytes_sent"] < RESYNC_BOUND, resync
    mount(volumes, victim)
    # The server that took over knows who holds the lock: the other machine does not get it.
    assert lock_of(volumes, victim, users.running[survivor, True].path) == "by another"
    users.begin(victim)
    users.wait_more(5)
    last = {k: v[-1] for k, v in results.outage_ms.items()}
    progress(f"{results.kills}: {victim} was killed, {survivor} serves; out for (ms) {last}")


def check_at_rest(pair: Pair) -> None:
    """Both copies are equal, and each holds a whole file system.

    Equal is asked while both run: an ordered stop hands the service over, and who gets it mounts
    the image and writes. The node that serves is stopped first, so that each copy ends with an
    unmount: a copy of a mounted image has a log that nobody has played back.
    """
    pair.both(f"umount {MOUNT}")
    primary = pair.primary(MODULE)
    said = pair[primary].run(f"twofold mirror verify {MODULE} --json", timeout_s=1800)
    found = json.loads(said)
    progress(f"verified: {found}")
    assert (found["state"], found["differing"]) == ("done", 0), found
    for node in (primary, other(primary)):
        pair[node].run(f"twofold stop {MODULE}", timeout_s=600)
    for node in NODES:
        assert pair[node].run(f"findmnt -rn {EXPORT} || true") == ""
        pair[node].run(f"xfs_repair -n {DIRECTORY}/volumes.img", timeout_s=600)
