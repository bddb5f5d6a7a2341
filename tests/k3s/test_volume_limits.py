"""The watch asks Kubernetes for the volumes and gives each its limit, where it serves them."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import twofold
from tests.k3s.api_stub import ApiStub
from tests.unit.k3s.test_quota import FIRST_PROJECT, Xfs
from twofold.config.places import Places
from twofold.config.render import set_variables
from twofold.errors import TwofoldError
from twofold.k3s.machine import Ran
from twofold.k3s.site import Site

LIBRARY = Path(twofold.__file__).parent / "library/k3s/module.toml"
MOUNT, SERVER = "/srv/k3s-volumes", "10.0.0.100"
NAMES = ("shop-data-pvc-1", "shop-log-pvc-2", "shop-www-pvc-3", "other-pvc-4")


@pytest.fixture
def api() -> Generator[ApiStub]:
    stub = ApiStub()
    for name in NAMES:  # more than a page
        volume(stub, name)
    yield stub
    stub.close()


def volume(stub: ApiStub, name: str, storage: str = "20Mi") -> None:
    thing: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "capacity": {"storage": storage},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Delete",
            "storageClassName": "nfs-client",
            "mountOptions": ["nfsvers=4.1", "hard"],
            "nfs": {"server": SERVER, "path": f"{MOUNT}/{name}"},
        },
    }
    stub.put(f"/api/v1/persistentvolumes/{name}", thing)


def site(api: ApiStub, etc: Path, machine: Xfs, **settings: str) -> Site:
    folder = etc / "modules/k3s"
    folder.mkdir(parents=True)
    given = {"address": f"{SERVER}/24", "nodes": "10.0.0.1 10.0.0.2"}
    text = set_variables(LIBRARY.read_text(), given | settings)
    (folder / "module.toml").write_text(text.replace("[replication]", "[replication]\nport = 9100"))
    access = etc / "k3s.yaml"
    access.write_text(
        f"clusters: [{{name: c, cluster: {{server: '{api.url}'}}}}]\n"
        "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n"
        "users: [{name: u, user: {token: t}}]\n"
    )
    places = Places(etc=etc, var=etc / "var", run=etc / "run")
    return Site("k3s", places, print, access, machine)


def test_every_volume_gets_its_limit_once(api: ApiStub, tmp_path: Path) -> None:
    machine = Xfs(*(f"{MOUNT}/{name}" for name in NAMES))
    watch = site(api, tmp_path, machine)
    said = [f"{MOUNT}/{name} may hold 20 MiB" for name in NAMES]
    assert sorted(watch.limit_volumes_now()) == sorted(said)
    assert sorted(machine.projects.values()) == [FIRST_PROJECT + i for i in range(len(NAMES))]
    assert watch.limit_volumes_now() == []
    volume(api, NAMES[0], "40Mi")
    assert watch.limit_volumes_now() == [f"{MOUNT}/{NAMES[0]} may hold 40 MiB"]
    assert api.changes() == [], "nothing is changed in Kubernetes"


def test_switched_off_nothing_is_looked_at(api: ApiStub, tmp_path: Path) -> None:
    machine = Xfs(*(f"{MOUNT}/{name}" for name in NAMES))
    assert site(api, tmp_path, machine, quotas="off").limit_volumes_now() == []
    assert (machine.commands, api.log) == ([], [])


def test_where_the_volumes_are_not_mounted_or_the_kernel_has_none_nothing_is_tried(
    api: ApiStub, tmp_path: Path
) -> None:
    machine = Xfs(f"{MOUNT}/{NAMES[0]}", options="rw,noquota")
    assert site(api, tmp_path, machine).limit_volumes_now() == []
    assert (machine.commands, api.log) == ([], [])


def test_a_volume_that_takes_long_holds_up_nothing_and_is_told_of_later(
    api: ApiStub, tmp_path: Path
) -> None:
    """A node that dies meanwhile must not wait for it."""
    go_on = threading.Event()

    class Slow(Xfs):
        def _quota(self, command: str) -> Ran:
            assert go_on.wait(20)
            return super()._quota(command)

    watch = site(api, tmp_path, Slow(*(f"{MOUNT}/{name}" for name in NAMES)))
    assert watch.limit_volumes() == []
    assert watch.limit_volumes() == [], "it is still at it"
    go_on.set()
    until_s, said = time.monotonic() + 20, list[str]()
    while not said and time.monotonic() < until_s:
        time.sleep(0.02)
        said = watch.limit_volumes()
    assert len(said) == len(NAMES)


def test_what_failed_is_told_at_the_next_look_and_tried_again(api: ApiStub, tmp_path: Path) -> None:
    machine = Xfs(f"{MOUNT}/{NAMES[0]}")
    watch = site(api, tmp_path, machine)
    api.faults = [(403, {})]
    assert watch.limit_volumes() == []
    told = ""
    until_s = time.monotonic() + 20
    while not told and time.monotonic() < until_s:
        time.sleep(0.02)
        try:
            said = watch.limit_volumes()
        except TwofoldError as error:
            told, said = str(error), []
        assert said == []
    assert "403" in told
    while not machine.commands and time.monotonic() < until_s:
        time.sleep(0.02)
        watch.limit_volumes()
    assert machine.commands, "tried again"
