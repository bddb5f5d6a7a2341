"""Backup and restore of what the two servers share: datastore, secrets, volumes.

A backup is a folder: the dump of the datastore (one transaction), the secrets, the volume image,
and `backup.json`, which is written last: without it the folder is no backup. The volumes are
frozen for the moment of the copy. Where the disk can clone (XFS, btrfs) that is a second or two,
and the copy is then made from the clone; elsewhere writers wait for the whole copy, so it has to be
asked for (`pause`). However it ends, the volumes are thawed.

A restore goes through what serves: SQL into the running datastore, files into the mounted volumes,
so the other node gets it as it gets every write. K3s is stopped meanwhile, on both nodes. The files
that were there are moved into `.before-restore`, never deleted.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from twofold.errors import CommandRefused, OperatorError
from twofold.k3s.machine import Machine
from twofold.k3s.settings import MODULE
from twofold.k3s.steps_cluster import is_serving

DUMP, IMAGE, LIST = "datastore.sql", "volumes.img", "backup.json"
SECRETS = ("database", "token")
COPY_BOUND_S, CLONE_BOUND_S, DUMP_BOUND_S = 86400.0, 20.0, 3600.0
ASIDE = ".before-restore"  # at the root of the volumes


@dataclass(frozen=True)
class Backup:
    place: str
    volumes: bool
    cloned: bool
    paused_s: float


def make(machine: Machine, directory: str, mount: str, place: str, pause: bool) -> Backup:
    if not is_serving(machine):
        raise CommandRefused("this node does not serve", "Make the backup on the node that does.")
    if machine.exists(f"{place}/{LIST}"):
        raise OperatorError(f"{place} is a backup already", "Give another folder.")
    machine.run(["install", "-d", "-m", "700", place, f"{place}/secrets"])
    dump = ["mariadb-dump", "--single-transaction", "--add-drop-database", "--databases", "k3s"]
    machine.run([*dump, f"--result-file={place}/{DUMP}"], bound_s=DUMP_BOUND_S)
    for name in SECRETS:
        text = machine.read(f"{directory}/secrets/{name}")
        if text is not None:
            machine.write(f"{place}/secrets/{name}", text, 0o600)
    done = Backup(place, False, False, 0.0)
    if machine.exists(f"{directory}/{IMAGE}"):
        done = _copy_volumes(machine, directory, mount, place, pause)
    machine.run(["sync", "--file-system", place], bound_s=600)
    machine.write(f"{place}/{LIST}", json.dumps(asdict(done), indent=1) + "\n", 0o600)
    return done


def _copy_volumes(machine: Machine, directory: str, mount: str, place: str, pause: bool) -> Backup:
    # The image below Twofold's own file system, which cannot clone; the clone beside the directory.
    raw, clone = f"/run/twofold/{MODULE}/raw/0/{IMAGE}", f"{directory}.backup"
    machine.remove(clone)
    copy = ["cp", "--sparse=always", "--"]
    with _frozen(machine, mount) as pause_s:
        clones = ["cp", "--reflink=always", "--", raw, clone]
        cloned = machine.run(clones, bound_s=CLONE_BOUND_S, check=False).code == 0
        if not cloned and pause:
            machine.run([*copy, raw, f"{place}/{IMAGE}"], bound_s=COPY_BOUND_S)
    if not cloned and not pause:
        machine.remove(clone)
        raise CommandRefused(
            f"the disk of {directory} cannot clone files, so writers would wait for the whole copy",
            "Say --pause to accept that; on XFS or btrfs it is not needed.",
        )
    if cloned:
        try:
            machine.run([*copy, clone, f"{place}/{IMAGE}"], bound_s=COPY_BOUND_S)
        finally:
            machine.remove(clone)
    return Backup(place, True, cloned, round(pause_s[0], 3))


@contextmanager
def _frozen(machine: Machine, mount: str) -> Generator[list[float]]:
    """Yields a list that has the seconds in it when it is over."""
    seconds: list[float] = []
    begun_s = machine.now_s()
    machine.run(["fsfreeze", "--freeze", mount])
    try:
        yield seconds
    finally:
        machine.run(["fsfreeze", "--unfreeze", mount])
        seconds.append(machine.now_s() - begun_s)


def restore(machine: Machine, directory: str, mount: str, place: str) -> list[str]:
    """Returns what a person has to do then."""
    text = machine.read(f"{place}/{LIST}")
    if text is None:
        raise OperatorError(
            f"{place} is no whole backup: it has no {LIST}", "Give the folder of `k3s backup`."
        )
    if not is_serving(machine):
        raise CommandRefused("this node does not serve", "Restore on the node that does.")
    active = machine.run(["systemctl", "is-active", "k3s"], check=False).out.strip()
    if active in ("active", "activating", "reloading"):
        raise CommandRefused(
            "K3s runs on this node", "End it and its pods on both nodes first: k3s-killall.sh"
        )
    if json.loads(text)["volumes"]:
        _bring_back_volumes(machine, mount, f"{place}/{IMAGE}")
    machine.run(["mariadb", "--execute", f"source {place}/{DUMP}"], bound_s=DUMP_BOUND_S)
    return ["On both nodes: systemctl start k3s", *_token(machine, directory, place)]


def _token(machine: Machine, directory: str, place: str) -> list[str]:
    """The datastore's authorities are encrypted with it: it must be the one of the dump."""
    there, here = f"{place}/secrets/token", f"{directory}/secrets/token"
    token = machine.read(there)
    if token is None or token == machine.read(here):
        return []
    machine.write(here, token, 0o600)
    return ["The token is another one: before that, `twofold k3s first` here, `second` there"]


def _bring_back_volumes(machine: Machine, mount: str, image: str) -> None:
    """File by file into the mounted volumes, so that it is replicated like every other write."""
    aside = f"{mount}/{ASIDE}"
    if machine.exists(aside):
        raise OperatorError(
            f"{aside} is there from an earlier restore", "Look into it, then delete it."
        )
    source = "/run/twofold-k3s-restore"
    machine.run(["mkdir", "-p", source])
    # Frozen when it was copied, so its log needs no recovery, and nothing is written into it.
    machine.run(["mount", "-t", "xfs", "-o", "loop,ro,norecovery,nouuid", image, source])
    try:
        machine.run(["mkdir", "-m", "700", aside])
        keep = ["!", "-name", ".nfsdcld", "!", "-name", ASIDE]
        whole = ["find", mount, "-mindepth", "1", "-maxdepth", "1", *keep]
        machine.run([*whole, "-exec", "mv", "-t", aside, "--", "{}", "+"], bound_s=600)
        whole = ["find", source, "-mindepth", "1", "-maxdepth", "1", *keep]
        copy = ["cp", "--archive", "--sparse=auto", "-t", mount, "--", "{}", "+"]
        machine.run([*whole, "-exec", *copy], bound_s=COPY_BOUND_S)
        machine.run(["sync", "--file-system", mount], bound_s=600)
    finally:
        machine.run(["umount", source], bound_s=60)
        machine.run(["rmdir", source], check=False)
