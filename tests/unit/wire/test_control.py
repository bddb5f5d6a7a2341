"""Who may say what on the control channel."""

from __future__ import annotations

import pytest

from twofold.errors import PeerRefused
from twofold.wire import control

CLUSTER = "00000000-0000-4000-8000-000000000000"


def test_a_certificate_names_a_node_of_one_cluster() -> None:
    name = control.certificate_name("b", CLUSTER)
    assert control.node_of_certificate([name], CLUSTER) == "b"
    with pytest.raises(PeerRefused, match="another cluster"):
        control.node_of_certificate([name], CLUSTER.replace("0", "1"))
    with pytest.raises(PeerRefused):
        control.node_of_certificate([f".{CLUSTER}.twofold", "b", ""], CLUSTER)


def test_another_version_is_refused_in_a_sentence() -> None:
    assert control.check_version(control.control_body({"command": "x"})) == {"command": "x"}
    with pytest.raises(PeerRefused, match="speaks control protocol 99, this one 1"):
        control.check_version({"command": "x", "version": 99})


def test_without_a_certificate_only_a_join_is_heard() -> None:
    control.check_admissible({"command": "join"})
    with pytest.raises(PeerRefused, match="can only join"):
        control.check_admissible({"command": "stop"})
