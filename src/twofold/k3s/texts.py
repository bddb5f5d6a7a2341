"""The files that the installer writes, as texts. Pure.

Why each setting is as it is stands beside it in the file itself, for whoever opens it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twofold.k3s.settings import DATASTORE_PORT, Settings

CONFIG = "/etc/rancher/k3s/config.yaml.d/50-twofold.yaml"
ENVIRONMENT = "/etc/default/k3s"
DROP_IN = "/etc/systemd/system/k3s.service.d/50-twofold.conf"
PODS_UNIT = "/etc/systemd/system/twofold-k3s-pods.service"
LOCALIO = "/etc/modprobe.d/twofold-k3s.conf"
MANIFESTS = "/var/lib/rancher/k3s/server/manifests"
IMAGES = "/var/lib/rancher/k3s/agent/images"
BINARY = "/usr/local/bin/k3s"

_LEASE = ("leader-elect-lease-duration=90s", "leader-elect-renew-deadline=75s")
_RETRY = "leader-elect-retry-period=3s"

ENVIRONMENT_TEXT = """\
# Written by twofold k3s. The datastore may be away for as long as a take-over lasts: K3s's own
# controllers do not give up their leases for that (the others are in config.yaml.d).
CATTLE_ELECTION_LEASE_DURATION=90s
CATTLE_ELECTION_RENEW_DEADLINE=75s
CATTLE_ELECTION_RETRY_PERIOD=3s
KINE_DATASTORE_MAX_IDLE_CONNECTIONS=20
"""

DROP_IN_TEXT = """\
# Written by twofold k3s. K3s comes up after Twofold and goes down before it: its datastore and its
# volumes are Twofold's.
[Unit]
After=twofoldd.service twofold-poweroff.service
"""

PODS_UNIT_TEXT = """\
# Written by twofold k3s. When the machine goes down, pods end while their volumes are still served;
# else the shutdown would wait for an NFS server that is gone.
[Unit]
Description=End the pods of K3s before Twofold goes down
After=twofoldd.service twofold-poweroff.service network-online.target remote-fs.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
ExecStop=-/usr/local/bin/k3s-killall.sh
TimeoutStopSec=90

[Install]
WantedBy=multi-user.target
"""

LOCALIO_TEXT = """\
# Written by twofold k3s. A node mounts its own export like everybody else's: no way around the
# server (kernels from 6.12 have one), so that a move is the same for all clients.
options nfs localio_enabled=N
"""


def endpoint(settings: Settings, password: str) -> str:
    """Bounded waits on every read and write: a half-dead connection must not freeze watches."""
    bounds = "timeout=5s&readTimeout=15s&writeTimeout=15s"
    return f"mysql://k3s:{password}@tcp({settings.ip}:{DATASTORE_PORT})/k3s?{bounds}"


def k3s_config(settings: Settings, password: str, token: str) -> str:
    """K3s's configuration on this node; only node-ip and flannel-iface differ between the two."""
    import yaml

    lease = [*_LEASE, _RETRY]
    config: dict[str, Any] = {
        "datastore-endpoint": endpoint(settings, password),
        "token": token,
        "node-ip": settings.own,  # explicit, or K3s may take the virtual one
        "flannel-iface": settings.interface,
        "tls-san": [settings.ip],  # the API is reached at the virtual address too
        "write-kubeconfig-mode": "0600",
        "disable": ["local-storage"],  # else the default class would not be replicated
        "kube-apiserver-arg": [
            "default-not-ready-toleration-seconds=30",
            "default-unreachable-toleration-seconds=30",
        ],
        "kube-controller-manager-arg": [*lease, "node-monitor-grace-period=90s"],
        "kube-scheduler-arg": lease,
        "kube-cloud-controller-manager-arg": list(lease),
    }
    text: str = yaml.safe_dump(config, sort_keys=False, width=1000)
    head = "# Written by twofold k3s; yours goes into another file of this directory.\n"
    return head + text.replace("&id001 ", "").replace("*id001", "")


def module_variables(settings: Settings, nodes: Sequence[str]) -> dict[str, str]:
    return {
        "address": settings.address,
        "nodes": " ".join(nodes),
        "arbitration": settings.arbitration,
        "directory": settings.directory,
        "mount": settings.mount,
        "volume_size": settings.volume_size,
        **dict(settings.more),
    }
