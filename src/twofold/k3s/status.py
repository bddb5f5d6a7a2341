"""How the Kubernetes of two servers is, in one look; and what to do next. Each part may be missing.

Reading is done part by part, so that one that does not answer does not hide the others.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from twofold.errors import TwofoldError
from twofold.k3s import volumes
from twofold.k3s.kubeconfig import Access
from twofold.k3s.kubernetes import KubernetesApi, NotThere
from twofold.k3s.machine import Machine
from twofold.k3s.steps_cluster import state
from twofold.k3s.takeover import LEASE_PATH, LEASES, NODES, TAINT, internal_ips, is_ready, taints_of

CERTIFICATES = "/var/lib/rancher/k3s/server/tls"
CERTIFICATE_NAMES = ("serving-kube-apiserver", "client-admin", "client-kube-apiserver")
SOON_DAYS = 30
API_BOUND_S = 8.0


@dataclass(frozen=True)
class Node:
    name: str
    addresses: list[str]
    ready: bool
    out_of_service: bool


@dataclass
class Status:
    module: dict[str, Any] = field(default_factory=dict[str, Any])
    kubernetes: str = "not installed here"
    nodes: list[Node] = field(default_factory=list[Node])
    leases: dict[str, str] = field(default_factory=dict[str, str])
    certificates_end_in_days: dict[str, int] = field(default_factory=dict[str, int])
    volumes: volumes.Volumes | None = None
    next: list[str] = field(default_factory=list[str])

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def gather(
    machine: Machine, access: Access | None, mount: str, directory: str, now: datetime.datetime
) -> Status:
    found = Status(module=state(machine))
    if access is not None:
        _ask_kubernetes(found, access)
    for name in CERTIFICATE_NAMES:
        text = machine.read(f"{CERTIFICATES}/{name}.crt")
        days = days_left(text, now) if text else None
        if days is not None:
            found.certificates_end_in_days[name] = days
    try:
        found.volumes = volumes.look(machine, mount, directory)
    except (TwofoldError, ValueError, LookupError) as e:
        found.next.append(f"the volumes could not be looked at: {e}")
    found.next += advice(found)
    return found


def _ask_kubernetes(found: Status, access: Access) -> None:
    try:
        with KubernetesApi(access, API_BOUND_S) as api:
            found.kubernetes = "ready" if api.ready() else "not ready"
            found.nodes = [_node(each) for each in api.items(NODES)]
            for name in LEASES:
                try:
                    lease = api.get(f"{LEASE_PATH}/{name}")
                except NotThere:
                    continue
                found.leases[name] = str(lease.get("spec", {}).get("holderIdentity") or "nobody")
    except TwofoldError as e:
        found.kubernetes = "does not answer"
        found.next.append(str(e))


def _node(thing: Mapping[str, Any]) -> Node:
    whole = dict(thing)
    out = any(t.get("key") == TAINT for t in taints_of(whole))
    name = str(whole["metadata"]["name"])
    return Node(name, sorted(internal_ips(whole)), is_ready(whole), out)


def days_left(pem: str, now: datetime.datetime) -> int | None:
    """Of the first certificate in a PEM file; None when there is none."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(pem.encode())
    except ValueError:
        return None
    return (certificate.not_valid_after_utc - now).days


def advice(found: Status) -> list[str]:
    """What to do next; empty when nothing is."""
    said: list[str] = []
    if not found.module:
        said.append("the module is not here: twofold k3s prereq, then first or second")
    elif found.module.get("readiness") != "Ready":
        said.append(f"the module is not Ready: {found.module.get('next', 'twofold state')}")
    said += [f"node {n.name} is not Ready: journalctl -u k3s there" for n in found.nodes
             if not n.ready and not n.out_of_service]  # fmt: skip
    said += [f"node {n.name} is out of service; it comes back by itself when it is Ready"
             for n in found.nodes if n.out_of_service]  # fmt: skip
    said += certificate_advice(found.certificates_end_in_days)
    if found.volumes is not None:
        said += volumes.warnings(found.volumes)
    return said


def certificate_advice(days: Mapping[str, int]) -> list[str]:
    ending = sorted((left, name) for name, left in days.items() if left < SOON_DAYS)
    if not ending:
        return []
    left, name = ending[0]
    when = "has ended" if left < 0 else f"ends in {left} days"
    return [f"the certificate {name} {when}: systemctl restart k3s renews it (one node at a time)"]


def lines(found: Status) -> Sequence[str]:
    """For a person."""
    module = found.module
    said = [f"module      {module.get('state', 'absent')} {module.get('readiness', '')}".rstrip()]
    said.append(f"kubernetes  {found.kubernetes}")
    for node in found.nodes:
        how = "out of service" if node.out_of_service else "Ready" if node.ready else "not Ready"
        said.append(f"node        {node.name} ({', '.join(node.addresses)}): {how}")
    said += [f"lease       {name}: {holder}" for name, holder in found.leases.items()]
    if found.certificates_end_in_days:
        said.append(f"certificates end in {min(found.certificates_end_in_days.values())} days")
    if found.volumes is not None:
        v = found.volumes
        said.append(
            f"volumes     {v.used_bytes >> 20} of {v.size_bytes >> 20} MiB used; the image takes "
            f"{v.allocated_bytes >> 20} MiB of the disk, which has {v.disk_free_bytes >> 20} free"
        )
    return [*said, *(f"-> {each}" for each in found.next)]
