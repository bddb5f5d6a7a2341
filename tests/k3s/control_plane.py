"""A real control plane on loopback: etcd, Kubernetes' API server, and its controllers twice.

The controllers of each server know their lease by the host's name, so each pair of them runs in a
UTS namespace of its own. Kubelets there are none: a thread stands in for them, which says that a
node is Ready and that its pods run. Everything ends with `close`, or with the test runner.
"""

from __future__ import annotations

import contextlib
import datetime
import secrets
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from twofold.k3s.kubeconfig import Access

Thing = dict[str, Any]
NODES = "/api/v1/nodes"
LEASE_S, RENEW_S = 60, 40
"""K3s's controllers wait so long for the lease of a dead server's, if nobody releases it."""
GRACE_S = 6
BEAT_S = 1.0
START_WITHIN_S = 180.0


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def until(true: Callable[[], bool], within_s: float, what: str) -> float:
    """Seconds that it took."""
    begun_s = time.monotonic()
    while not true():
        assert time.monotonic() - begun_s < within_s, f"not within {within_s:.0f} s: {what}"
        time.sleep(0.2)
    return time.monotonic() - begun_s


class ControlPlane:
    def __init__(self, programs: Path, home: Path) -> None:
        self._programs, self._home = programs, home
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._token = secrets.token_hex(16)
        self._port = free_port()
        self.url = f"https://127.0.0.1:{self._port}"
        self._alive: set[str] = set()
        self._over = threading.Event()
        self._kubelets: threading.Thread | None = None
        self._api: httpx.Client | None = None

    def start(self) -> None:
        client, peer = free_port(), free_port()
        etcd = f"http://127.0.0.1:{client}"
        self._begin(
            "etcd",
            *("etcd", "--data-dir", str(self._home / "etcd"), "--unsafe-no-fsync"),
            *("--listen-client-urls", etcd, "--advertise-client-urls", etcd),
            *("--listen-peer-urls", f"http://127.0.0.1:{peer}"),
        )
        self._write_secrets()
        home = self._home
        self._begin(
            "kube-apiserver",
            str(self._programs / "kube-apiserver"),
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self._port}",
            "--advertise-address=192.0.2.1",
            "--endpoint-reconciler-type=none",
            f"--cert-dir={home / 'certs'}",
            "--service-cluster-ip-range=10.43.0.0/24",
            "--service-account-issuer=https://kubernetes.test",
            f"--service-account-key-file={home / 'accounts.key'}",
            f"--service-account-signing-key-file={home / 'accounts.key'}",
            f"--token-auth-file={home / 'tokens.csv'}",
            "--authorization-mode=AlwaysAllow",
            "--disable-admission-plugins=ServiceAccount",
        )
        certificate = home / "certs" / "apiserver.crt"
        until(certificate.exists, START_WITHIN_S, "the API server's certificate")
        until(self._answers, START_WITHIN_S, "the API server")
        self._kubelets = threading.Thread(target=self._stand_in, daemon=True)
        self._kubelets.start()

    def access(self) -> Access:
        ca = (self._home / "certs" / "apiserver.crt").read_bytes()
        return Access(self.url, ca=ca, token=self._token)

    def ask(self, method: str, path: str, body: Thing | None = None) -> Thing:
        assert self._api is not None
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        answer = self._api.request(method, path, json=body, headers={"content-type": kind})
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text}"
        said: Thing = answer.json()
        return said

    def controllers(self, host: str) -> None:
        """A server's controller manager and scheduler, under its host name."""
        config = self._home / "kubeconfig"
        for program in ("kube-controller-manager", "kube-scheduler"):
            more = (
                ["--node-monitor-period=1s", f"--node-monitor-grace-period={GRACE_S}s"]
                if program == "kube-controller-manager"
                else []
            )
            command = [
                str(self._programs / program),
                f"--kubeconfig={config}",
                "--bind-address=127.0.0.1",
                f"--secure-port={free_port()}",
                f"--leader-elect-lease-duration={LEASE_S}s",
                f"--leader-elect-renew-deadline={RENEW_S}s",
                "--leader-elect-retry-period=2s",
                *more,
            ]
            named = ["unshare", "--uts", "sh", "-c", 'hostname "$0"; exec "$@"', host]
            self._begin(f"{program} {host}", *named, *command)

    def die(self, host: str) -> None:
        """The power of this server is cut: its controllers and its kubelet say nothing more."""
        self._alive.discard(host)
        for name, process in self._processes.items():
            if name.endswith(f" {host}"):
                process.kill()
                process.wait(10)

    def live(self, host: str, ip: str) -> None:
        """Its kubelet says that the node is Ready, from now on."""
        if host not in {str(n["metadata"]["name"]) for n in self.ask("GET", NODES)["items"]}:
            self.ask("POST", NODES, {"kind": "Node", "metadata": {"name": host}})
            room = {"cpu": "8", "memory": "16Gi", "pods": "110"}
            addresses = [{"type": "InternalIP", "address": ip}]
            status = {"addresses": addresses, "capacity": room, "allocatable": room}
            self.ask("PATCH", f"{NODES}/{host}/status", {"status": status})
        self._alive.add(host)

    def close(self) -> None:
        self._over.set()
        if self._kubelets is not None:
            self._kubelets.join(10)
        for process in reversed(self._processes.values()):
            process.kill()
            process.wait(10)
        if self._api is not None:
            self._api.close()

    def log(self, name: str) -> str:
        return (self._home / f"{name}.log").read_text(errors="replace")[-3000:]

    def _begin(self, name: str, *command: str) -> None:
        bound_to_us = ("setpriv", "--pdeathsig", "KILL", "--", *command)
        with (self._home / f"{name}.log").open("wb") as log:
            self._processes[name] = subprocess.Popen(bound_to_us, stdout=log, stderr=log)

    def _write_secrets(self) -> None:
        key = rsa.generate_private_key(65537, 2048)
        (self._home / "accounts.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        (self._home / "tokens.csv").write_text(f'{self._token},tests,tests,"system:masters"\n')
        authority = self._home / "certs" / "apiserver.crt"
        (self._home / "kubeconfig").write_text(
            "apiVersion: v1\nkind: Config\ncurrent-context: here\n"
            "contexts: [{name: here, context: {cluster: here, user: here}}]\n"
            "clusters: [{name: here, cluster: {server: "
            f"'{self.url}', certificate-authority: '{authority}'}}}}]\n"
            f"users: [{{name: here, user: {{token: {self._token}}}}}]\n"
        )

    def _answers(self) -> bool:
        assert self._processes["kube-apiserver"].poll() is None, self.log("kube-apiserver")
        if self._api is None:
            ca = ssl.create_default_context(cafile=self._home / "certs" / "apiserver.crt")
            headers = {"authorization": f"Bearer {self._token}"}
            self._api = httpx.Client(
                base_url=self.url, verify=ca, headers=headers, trust_env=False, timeout=20
            )
        with contextlib.suppress(httpx.HTTPError):
            return self._api.get("/readyz").status_code == 200
        return False

    # --- the kubelets' stand-in -------------------------------------------------------------------

    def _stand_in(self) -> None:
        while not self._over.wait(BEAT_S):
            for host in sorted(self._alive):
                with contextlib.suppress(httpx.HTTPError, AssertionError):  # the next beat tries
                    self._beat(host)
                    self._run_pods(host)

    def _beat(self, host: str) -> None:
        now = datetime.datetime.now(datetime.UTC)
        stamp = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec = {"holderIdentity": host, "leaseDurationSeconds": 40, "renewTime": stamp}
        path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases"
        assert self._api is not None
        known = self._api.get(f"{path}/{host}").status_code == 200
        body = {"metadata": {"name": host}, "spec": spec}
        self.ask("PATCH" if known else "POST", f"{path}/{host}" if known else path, body)
        second = now.strftime("%Y-%m-%dT%H:%M:%SZ")
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "lastHeartbeatTime": second,
            "lastTransitionTime": second,
        }
        self.ask("PATCH", f"{NODES}/{host}/status", {"status": {"conditions": [ready]}})

    def _run_pods(self, host: str) -> None:
        found = self.ask("GET", f"/api/v1/pods?fieldSelector=spec.nodeName={host}")
        for pod in found["items"]:
            place = f"/api/v1/namespaces/{pod['metadata']['namespace']}/pods"
            place += f"/{pod['metadata']['name']}"
            if pod["metadata"].get("deletionTimestamp"):
                self.ask("DELETE", place, {"gracePeriodSeconds": 0})
            elif pod["status"].get("phase") != "Running":
                ready = {"type": "Ready", "status": "True"}
                status = {"phase": "Running", "conditions": [ready]}
                self.ask("PATCH", f"{place}/status", {"status": status})
