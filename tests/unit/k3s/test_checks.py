"""Settings, checks and advice: what a person gets wrong is told with the mend."""

from __future__ import annotations

import datetime
from dataclasses import replace

import pytest

from tests.unit.k3s.server import Server
from twofold.errors import OperatorError
from twofold.k3s import status, steps_prereq
from twofold.k3s.kubeconfig import parse
from twofold.k3s.settings import own_address, volume_bytes
from twofold.k3s.steps_prereq import Facts, judge
from twofold.k3s.volumes import Volumes, warnings

GOOD = Facts("Debian 12", True, True, 4096, 50000, True, True, (), False, None, "node-a")
NETWORKS = {"eth0": ("10.0.0.1/24", "fd00::1/64"), "eth1": ("192.168.0.1/24",)}


def test_a_fit_machine_has_nothing_to_mend() -> None:
    assert [f.name for f in judge(GOOD) if not f.ok] == []


@pytest.mark.parametrize(
    ("facts", "name", "hard"),
    [
        (replace(GOOD, debian=False), "Debian or Ubuntu", True),
        (replace(GOOD, systemd=False), "systemd", True),
        (replace(GOOD, memory_mib=1000), "memory", True),
        (replace(GOOD, free_mib=100), "free disk space", True),
        (replace(GOOD, host="localhost"), "host name", True),
        (replace(GOOD, host="Node_A"), "host name", True),
        (replace(GOOD, default_route=False), "default route", True),
        (replace(GOOD, busy_ports=(6443,)), "free ports", True),
        (replace(GOOD, clock_synchronised=False), "clock", False),
        (replace(GOOD, firewall=True), "firewall", False),
    ],
)
def test_each_lack_is_named(facts: Facts, name: str, hard: bool) -> None:
    wrong = [f for f in judge(facts) if not f.ok]
    assert [(f.name, f.hard) for f in wrong] == [(name, hard)]
    assert wrong[0].mend


def test_this_machine_is_read() -> None:
    server = Server()
    server.files |= {
        "/proc/meminfo": "MemTotal:        4096000 kB\n",
        "/proc/net/route": "Iface D G F R U M Mask\neth0 00000000 FE00000A 3 0 0 0 00000000\n",
        "/proc/sys/kernel/hostname": "node-a\n",
    }
    facts = steps_prereq.probe(server, "/srv/k3s")
    assert (facts.debian, facts.memory_mib, facts.default_route) == (True, 4000, True)
    assert facts.host == "node-a"


def test_the_own_address_is_the_one_on_the_network_of_the_virtual_one() -> None:
    assert own_address("10.0.0.100/24", NETWORKS) == ("eth0", "10.0.0.1")
    assert own_address("fd00::100/64", NETWORKS) == ("eth0", "fd00::1")
    with pytest.raises(OperatorError, match=r"no address in the network 10\.9\.0\.0/24"):
        own_address("10.9.0.1/24", NETWORKS)
    with pytest.raises(OperatorError, match="no prefix"):
        own_address("10.0.0.100", NETWORKS)
    with pytest.raises(OperatorError, match="is no address"):
        own_address("virtual/24", NETWORKS)


def test_sizes() -> None:
    assert volume_bytes("20G") == 20 << 30
    for wrong in ("", "20", "G", "-1G", "100M", "1.5G", "20GB"):
        with pytest.raises(OperatorError, match="no size"):
            volume_bytes(wrong)


def test_certificates_are_told_in_time() -> None:
    assert status.certificate_advice({"a": 200}) == []
    assert "ends in 12 days" in status.certificate_advice({"a": 200, "b": 12})[0]
    assert "has ended" in status.certificate_advice({"b": -1})[0]
    assert status.days_left("no certificate", datetime.datetime.now(datetime.UTC)) is None


def test_volumes_that_need_somebody() -> None:
    good = Volumes("/v", "/dev/loop0", "/i", 100 << 20, 100 << 20, 1 << 20, 2 << 20, 99 << 20, True)
    assert warnings(good) == []
    assert "cannot be written" in warnings(replace(good, writable=False))[0]
    assert "nearly full" in warnings(replace(good, used_bytes=95 << 20))[0]
    assert "lacks 48 MiB" in warnings(replace(good, disk_free_bytes=50 << 20))[0]


@pytest.mark.parametrize("text", ["", "a: [", "[]", "contexts: []", "contexts: 1"])
def test_a_wrong_kubeconfig_is_said_so(text: str) -> None:
    with pytest.raises(OperatorError, match="is no kubeconfig that can be used"):
        parse(text)


def test_a_kubeconfig_of_k3s() -> None:
    text = """
apiVersion: v1
clusters:
  - name: default
    cluster: {server: "https://127.0.0.1:6443", certificate-authority-data: Y2E=}
contexts: [{name: default, context: {cluster: default, user: default}}]
current-context: default
users: [{name: default, user: {client-certificate-data: Y2VydA==, client-key-data: a2V5}}]
"""
    access = parse(text)
    assert (access.ca, access.cert, access.key) == (b"ca", b"cert", b"key")
    assert "a2V5" not in repr(access) and "key=b'key'" not in repr(access)
