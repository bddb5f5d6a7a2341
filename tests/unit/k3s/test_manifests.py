"""What is given to Kubernetes is what Kubernetes understands: checked by its own schemas."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

import twofold.k3s.manifests
from tests.k3s import schemas
from twofold.k3s.manifests import provisioner

FOLDER = Path(twofold.k3s.manifests.__file__).parent
SAMPLE = (FOLDER / "wordpress.yaml").read_text()
PROVISIONER = provisioner.text("10.0.0.100", "/srv/k3s-volumes")


def objects(text: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(text) if each]


@pytest.mark.parametrize("text", [SAMPLE, PROVISIONER], ids=["wordpress", "provisioner"])
def test_every_object_is_valid(text: str) -> None:
    found = objects(text)
    wrong = [(o["kind"], o["metadata"]["name"], schemas.wrong(o)) for o in found]
    assert [each for each in wrong if each[2]] == []
    assert len(found) > 5


def test_volumes_wait_through_a_take_over() -> None:
    """Hard mounts of version 4.1, at the virtual address, in the class and in the root's volume."""
    found = {o["kind"]: o for o in objects(PROVISIONER)}
    for kind in ("StorageClass", "PersistentVolume"):
        options = found[kind].get("mountOptions") or found[kind]["spec"]["mountOptions"]
        assert {"hard", "nfsvers=4.1"} <= set(options)
    assert found["PersistentVolume"]["spec"]["nfs"]["server"] == "10.0.0.100"


def test_never_two_of_what_must_be_one() -> None:
    for each in objects(SAMPLE) + objects(PROVISIONER):
        if each["kind"] == "Deployment":
            assert each["spec"]["strategy"] == {"type": "Recreate"}
            assert each["spec"]["replicas"] == 1


def test_the_sample_has_official_pinned_images_and_no_password() -> None:
    images = [
        c["image"]
        for o in objects(SAMPLE)
        if o["kind"] == "Deployment"
        for c in o["spec"]["template"]["spec"]["containers"]
    ]
    assert images == ["docker.io/library/mariadb:11.4", "docker.io/library/wordpress:6.8-apache"]
    assert not [o for o in objects(SAMPLE) if o["kind"] == "Secret"]
    service = next(o for o in objects(SAMPLE) if o["kind"] == "Service" and "type" in o["spec"])
    assert service["spec"]["type"] == "LoadBalancer"
    assert service["spec"]["ports"][0]["port"] == 8099
    assert service["spec"].get("externalTrafficPolicy") != "Local"
