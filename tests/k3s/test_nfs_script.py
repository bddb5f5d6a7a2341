"""The module's script for the NFS server, with stand-ins for the programs it calls.

What a kernel's server does with these settings is shown where there is one, in virtual machines.
"""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

import twofold

SCRIPT = Path(twofold.__file__).parent / "library/k3s/scripts/nfs"

_SYSTEMCTL = """\
#!/bin/sh
echo "systemctl $*" >>"$CALLS"
[ ! -e "$STUCK" ] || exit 0
[ "$*" != "start $FAILS" ] || exit 1
case "$*" in
"start nfs-server") echo 16 >"$NFSD/threads" ;;
"stop nfs-server") echo 0 >"$NFSD/threads" ;;
esac
"""
_EXPORTFS = '#!/bin/sh\ngrep -h "^/" "$ETC"/exports.d/*.exports | cut -d " " -f 1\n'
_RPC_NFSD = '#!/bin/sh\necho "usage: rpc.nfsd [-H hostname] $SCOPE_OPTION" >&2\n'


@dataclass
class Stand:
    place: Path

    def __post_init__(self) -> None:
        for name, text in (
            ("systemctl", _SYSTEMCTL),
            ("exportfs", _EXPORTFS),
            ("rpc.nfsd", _RPC_NFSD),
        ):
            program = self.place / "bin" / name
            program.parent.mkdir(exist_ok=True)
            program.write_text(text)
            program.chmod(0o755)
        for name in ("nfsd", "replicated", "run/systemd/system"):
            (self.place / name).mkdir(parents=True)
        (self.place / "nfsd/threads").write_text("0")

    def call(self, action: str, **more: str) -> tuple[int, str]:
        environment = {
            "PATH": f"{self.place}/bin:{os.environ['PATH']}",
            "CALLS": f"{self.place}/calls",
            "STUCK": f"{self.place}/stuck",
            "ETC": f"{self.place}/etc",
            "RUN": f"{self.place}/run",
            "NFSD": f"{self.place}/nfsd",
            "FAILS": "nothing",
            "SCOPE_OPTION": "[--scope scope]",
            "DIRECTORY": f"{self.place}/replicated",
            "MOUNT": "/srv/k3s-volumes",
            "CLIENTS": "10.0.0.1 10.0.0.2 10.0.0.100 ",
            **more,
        }
        done = subprocess.run(
            [SCRIPT, action], env=environment, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stderr

    def calls(self) -> list[str]:
        return (self.place / "calls").read_text().splitlines()

    @property
    def exports(self) -> Path:
        return self.place / "etc/exports.d/twofold-k3s.exports"


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return Stand(tmp_path)


def test_only_the_nodes_may_mount_and_nothing_is_acknowledged_early(stand: Stand) -> None:
    assert stand.call("start") == (0, "")
    line = stand.exports.read_text().splitlines()[1]
    fsid = (stand.place / "replicated/volumes.fsid").read_text().strip()
    options = f"rw,sync,no_subtree_check,no_root_squash,fsid={fsid},mp"
    nodes = ("10.0.0.1", "10.0.0.2", "10.0.0.100")
    assert line == "/srv/k3s-volumes " + " ".join(f"{n}({options})" for n in nodes)
    assert "async" not in line and "*" not in line


def test_handles_stay_valid_on_the_other_node(stand: Stand) -> None:
    assert stand.call("start")[0] == 0
    before = stand.exports.read_text()
    assert stand.call("stop")[0] == 0
    assert not stand.exports.exists()
    assert stand.call("start")[0] == 0
    assert stand.exports.read_text() == before


def test_locks_can_be_reclaimed(stand: Stand) -> None:
    """The memory of clients lies in the image; the server has one name on both nodes."""
    assert stand.call("start")[0] == 0
    settings = (stand.place / "etc/nfs.conf.d/twofold.conf").read_text()
    assert "storagedir=/srv/k3s-volumes/.nfsdcld" in settings
    assert "scope=twofold-k3s" in settings
    assert "vers3=n" in settings
    started = [c for c in stand.calls() if c.startswith("systemctl start")]
    assert started == ["systemctl start nfsdcld", "systemctl start nfs-server"]


def test_an_old_server_gets_the_name_by_its_unit(stand: Stand) -> None:
    override = stand.place / "run/systemd/system/nfs-server.service.d/twofold.conf"
    assert stand.call("start", SCOPE_OPTION="")[0] == 0
    assert "unshare --uts /bin/sh -c 'hostname twofold-k3s; exec" in override.read_text()
    assert stand.call("stop")[0] == 0
    assert stand.call("start")[0] == 0  # after an upgrade
    assert not override.exists()


def test_no_handle_dies_on_the_way_down(stand: Stand) -> None:
    """The server ends before anything is unexported; else clients would see ESTALE."""
    assert stand.call("start")[0] == 0
    assert stand.call("stop")[0] == 0
    assert stand.calls()[-2:] == ["systemctl stop nfs-server", "systemctl stop nfsdcld"]


def test_a_server_that_does_not_stop_is_told_and_stays_exported(stand: Stand) -> None:
    assert stand.call("start")[0] == 0
    (stand.place / "stuck").touch()
    code, said = stand.call("stop")
    assert code == 1
    assert "still has 16 threads" in said
    assert stand.exports.exists()
    code, said = stand.call("start")
    assert code == 1
    assert "from before still runs" in said


@pytest.mark.parametrize("unit", ["nfsdcld", "nfs-server"])
def test_what_did_not_come_up_in_time_does_not_stay_in_the_image(stand: Stand, unit: str) -> None:
    """systemd goes on with a start that nobody waits for any more: nfsdcld, found running in the
    image when this node had given up serving, kept the volumes from being unmounted.
    """
    code, said = stand.call("start", FAILS=unit)
    assert code == 1
    assert "does not start" in said or "is not started" in said
    assert stand.calls()[-2:] == ["systemctl stop nfs-server", "systemctl stop nfsdcld"]
    assert not stand.exports.exists()


def test_without_systemd_it_says_how_to_go_on(stand: Stand) -> None:
    (stand.place / "run/systemd/system").rmdir()
    code, said = stand.call("start")
    assert code == 1
    assert "--set nfs=off" in said
    assert stand.call("start", NFS="off") == (0, "")


def test_a_server_that_does_not_start_is_told(stand: Stand) -> None:
    (stand.place / "stuck").touch()
    code, said = stand.call("start")
    assert code == 1
    assert "The NFS server has no threads" in said
