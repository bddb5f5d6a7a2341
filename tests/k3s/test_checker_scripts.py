"""The module's checkers: each says yes, and each says what is wrong."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

import pytest

import twofold
from twofold.config.load import parse_module

LIBRARY = Path(twofold.__file__).parent / "library/k3s"


def call(script: str, *arguments: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        [LIBRARY / "scripts" / script, *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
    )
    lines = done.stdout.splitlines()
    return done.returncode, lines[-1] if lines else ""


def test_volumes(tmp_path: Path) -> None:
    assert call("check-volumes", "off", "/nowhere") == (0, "no volumes")
    assert call("check-volumes", "on", str(tmp_path)) == (1, f"{tmp_path} is not mounted")
    assert call("check-volumes", "on", "/proc") == (1, "/proc cannot be written")
    assert call("check-volumes", "on", "/dev/shm") == (0, "/dev/shm can be written")
    Path("/dev/shm/.twofold-probe").unlink()


def test_nfs(tmp_path: Path) -> None:
    program = tmp_path / "exportfs"
    program.write_text("#!/bin/sh\necho '/srv/v  10.0.0.1'\n")
    program.chmod(0o755)
    where = {"NFSD": str(tmp_path), "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert call("check-nfs", "onoff", "/srv/v", **where) == (0, "no NFS")
    assert call("check-nfs", "onon", "/srv/v", **where) == (1, "the NFS server has no threads")
    (tmp_path / "threads").write_text("16\n")
    assert call("check-nfs", "onon", "/srv/v", **where) == (0, "16 threads serve /srv/v")
    assert call("check-nfs", "onon", "/srv/w", **where) == (1, "/srv/w is not exported")


@pytest.mark.parametrize(("days", "code"), [(10, 1), (200, 0)])
def test_certificates(tmp_path: Path, days: int, code: int) -> None:
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    words += ["-nodes", "-keyout", "/dev/null", "-subj", "/CN=k3s", "-days", str(days)]
    subprocess.run(
        [*words, "-out", tmp_path / "client-admin.crt"],
        check=True, capture_output=True, timeout=20,
    )  # fmt: skip
    found, said = call("check-k3s", "certificates", TLS=str(tmp_path))
    assert found == code
    wrong = "client-admin.crt ends within 30 days: systemctl restart k3s renews it"
    assert said == (wrong if code else "no certificate ends within 30 days")


def test_no_k3s_yet_is_no_failure_and_a_silent_one_is(tmp_path: Path) -> None:
    for what in ("ready", "certificates"):
        assert call("check-k3s", what, TLS=str(tmp_path / "none")) == (0, "no K3s here")
    code, said = call("check-k3s", "ready", TLS=str(tmp_path))
    assert code == 1
    assert said.startswith("K3s is not ready")


def test_only_what_another_node_would_do_better_leads_to_a_failover() -> None:
    text = (LIBRARY / "module.toml").read_text()
    for name in ("address", "nodes"):
        text = text.replace(f"{name} = {{ help", f'{name} = {{ default = "10.0.0.9/24", help', 1)
    module = parse_module("k3s", text)
    actions = {checker.name: checker.action for checker in module.checkers}
    assert {name for name, action in actions.items() if action == "failover"} == {"volumes"}
    for name in ("k3s", "certificates", "watch", "room"):
        assert actions[name] == "none"


def test_who_moves_or_restarts_the_datastore_is_patient_first() -> None:
    """Seen on a machine that had just taken over and was busy with it: the client of MariaDB took
    3 s to start alone, three answers in a row were late, and the restart made all of it worse.
    """
    text = (LIBRARY / "module.toml").read_text()
    programs = [
        checker
        for checker in tomllib.loads(text)["checker"]
        if checker["kind"] in ("sql", "script") and checker["action"] != "none"
    ]
    assert {checker["name"] for checker in programs} == {"answers", "volumes", "nfs"}
    patience = {c["name"]: (c.get("timeout"), c["failures"]) for c in programs}
    # Behind all that a pod writes a sync of the volumes may wait for most of a minute.
    assert patience == {"answers": ("15s", 3), "volumes": ("60s", 2), "nfs": ("15s", 3)}
