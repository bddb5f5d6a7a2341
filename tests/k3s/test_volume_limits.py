"""The watch asks Kubernetes for the volumes and gives each its limit, where it serves them."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

import twofold
from tests.k3s.api_stub import ApiStub
from tests.unit.k3s.test_quota import FIRST_PROJECT, Xfs
from twofold.config.places import Places
from twofold.config.render import set_variables
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
    assert sorted(watch.limit_volumes()) == sorted(f"{MOUNT}/{n} may hold 20 MiB" for n in NAMES)
    assert sorted(machine.projects.values()) == [FIRST_PROJECT + i for i in range(len(NAMES))]
    assert watch.limit_volumes() == []
    volume(api, NAMES[0], "40Mi")
    assert watch.limit_volumes() == [f"{MOUNT}/{NAMES[0]} may hold 40 MiB"]
    assert api.changes() == [], "nothing is changed in Kubernetes"


def test_switched_off_nothing_is_looked_at(api: ApiStub, tmp_path: Path) -> None:
    machine = Xfs(*(f"{MOUNT}/{name}" for name in NAMES))
    assert site(api, tmp_path, machine, quotas="off").limit_volumes() == []
    assert (machine.commands, api.log) == ([], [])


def test_where_the_volumes_are_not_mounted_or_the_kernel_has_none_nothing_is_tried(
    api: ApiStub, tmp_path: Path
) -> None:
    machine = Xfs(f"{MOUNT}/{NAMES[0]}", options="rw,noquota")
    assert site(api, tmp_path, machine).limit_volumes() == []
    assert (machine.commands, api.log) == ([], [])
