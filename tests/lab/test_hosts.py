"""The lab itself, without Twofold in it: isolation, honest power cuts, cables, a clean end."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from twofold.errors import CommandRefused, OperatorError
from twofold.lab import disks, hosts, record
from twofold.lab.lab import Lab

pytestmark = [
    pytest.mark.root,
    pytest.mark.timeout(60),
    pytest.mark.skipif(os.geteuid() != 0, reason="namespaces and mounts need root"),
]
MIB = 1 << 20
REACH = """
import socket, sys
try:
    socket.create_connection((sys.argv[1], 9999), timeout=0.5)
except ConnectionRefusedError:
    sys.exit(0)
except OSError:
    sys.exit(1)
"""


def has_xfs() -> bool:
    return shutil.which("mkfs.xfs", path=os.environ["PATH"] + ":/usr/sbin:/sbin") is not None


@pytest.fixture(params=["ext4", "xfs"])
def lab(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Lab]:
    if request.param == "xfs" and not has_xfs():
        pytest.skip("mkfs.xfs is not installed")
    name = f"t{os.getpid()}"
    made = Lab.make(name, file_system=request.param, size_bytes=320 * MIB, directory=tmp_path)
    yield made
    made.down()


def reaches(lab: Lab, host: str, address: str) -> bool:
    return lab.exec(host, ["python", "-c", REACH, address], check=False).returncode == 0


def write(lab: Lab, path: str, text: str, synced: bool) -> None:
    sync = f"&& sync {path} && sync $(dirname {path})" if synced else ""
    lab.exec("a", ["sh", "-c", f"printf %s '{text}' > {path} {sync}"])


def test_each_node_is_a_machine_of_its_own(lab: Lab) -> None:
    assert lab.exec("a", ["hostname"]).stdout.strip() == "a"
    lab.exec("a", ["sh", "-c", "echo here > /etc/only-a; echo here > /srv/only-a; echo > /run/x"])
    for path in ("/etc/only-a", "/srv/only-a", "/run/x"):
        assert not Path(path).exists(), "the machine itself must stay untouched"
        assert not lab.inside("b", path).exists()
    processes = lab.exec("a", ["sh", "-c", "ls -d /proc/[0-9]* | wc -l"]).stdout
    assert int(processes) < 8, "only the node's own processes are seen"
    assert sorted(lab.exec("a", ["ls", "/sys/class/net"]).stdout.split()) == ["flow", "lan", "lo"]
    assert lab.exec("client", ["ls", "/sys/class/net"]).stdout.split() == ["lan", "lo"]


def test_a_power_cut_loses_what_was_not_synced_and_only_that(lab: Lab) -> None:
    for place in ("/srv", "/var/lib", "/etc", "/var/lib/twofold", "/etc/twofold"):
        write(lab, f"{place}/synced", "kept", synced=True)
        write(lab, f"{place}/not-synced", "lost", synced=False)
    write(lab, "/run/anything", "gone", synced=True)
    lab.kill("a")
    assert not lab.is_up("a")
    lab.start("a")
    for place in ("/srv", "/var/lib", "/etc", "/var/lib/twofold", "/etc/twofold"):
        assert lab.inside("a", f"{place}/synced").read_text() == "kept"
        lost = lab.inside("a", f"{place}/not-synced")
        assert not lost.exists() or lost.read_text() == "", place
    assert not lab.inside("a", "/run/anything").exists()


def test_an_orderly_power_off_loses_nothing(lab: Lab) -> None:
    write(lab, "/srv/not-synced", "kept", synced=False)
    lab.power_off("a")
    lab.start("a")
    assert lab.inside("a", "/srv/not-synced").read_text() == "kept"


def test_a_power_cut_says_no_goodbye(lab: Lab) -> None:
    """No FIN, no RST: the other end learns nothing, as when a server loses power."""
    listen = """
import socket
server = socket.create_server(("10.77.0.1", 7000))
print("listening", flush=True)
held = [server.accept() for _ in range(1)]
import time; time.sleep(60)
"""
    wait = """
import socket
link = socket.create_connection(("10.77.0.1", 7000), timeout=5)
print("connected", flush=True)
link.settimeout(1.5)
try:
    print("heard", link.recv(1))
except TimeoutError:
    print("silence")
except OSError as failure:
    print("heard", failure)
"""
    server = lab.popen("a", ["python", "-c", listen], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    assert server.stdout.readline() == "listening\n"
    client = lab.popen("client", ["python", "-c", wait], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    assert client.stdout.readline() == "connected\n"
    lab.kill("a")
    assert client.communicate(timeout=10)[0] == "silence\n"
    server.wait(timeout=10)
    server.stdout.close()


def test_cables_are_pulled_one_by_one_and_plugged_in_again(lab: Lab) -> None:
    assert reaches(lab, "client", "10.77.0.1")
    assert reaches(lab, "client", "fd77::1")
    assert reaches(lab, "b", "10.77.1.1")
    lab.cut("a", ["lan"])
    assert not reaches(lab, "client", "10.77.0.1")
    assert reaches(lab, "b", "10.77.1.1")
    assert lab.inside("a", "/sys/class/net/lan/operstate").parent.exists()
    lab.kill("a")
    lab.start("a")
    assert not reaches(lab, "client", "10.77.0.1"), "a pulled cable stays out over a reboot"
    lab.heal()
    assert reaches(lab, "client", "10.77.0.1")
    assert reaches(lab, "client", "fd77::1")
    lab.cut("a", ["flow"], silent=True)
    assert not reaches(lab, "b", "10.77.1.1")
    assert lab.exec("a", ["cat", "/sys/class/net/flow/carrier"]).stdout == "1\n"
    lab.heal("a")
    assert reaches(lab, "b", "10.77.1.1")


def test_what_is_supervised_is_started_again_also_after_a_power_cut(lab: Lab) -> None:
    lab.supervise("a", "beat", ["sh", "-c", "echo beat >> /run/beats"])
    beats = lab.inside("a", "/run/beats")

    def wait_for(count: int) -> None:
        deadline = time.monotonic() + 10
        while not beats.exists() or len(beats.read_text().split()) < count:
            assert time.monotonic() < deadline
            time.sleep(0.05)

    wait_for(2)
    lab.kill("a")
    lab.start("a")
    beats = lab.inside("a", "/run/beats")
    wait_for(2)
    lab.supervise("a", "beat", None)
    time.sleep(0.7)
    count = len(beats.read_text().split())
    time.sleep(0.8)
    assert len(beats.read_text().split()) == count


@pytest.mark.fuse
def test_processes_stuck_in_a_dead_mount_do_not_keep_a_node_alive(lab: Lab) -> None:
    server = Path(__file__).with_name("silent_fuse.py")
    lab.exec("a", ["mkdir", "/srv/hangs"])
    fuse = lab.popen("a", ["python", str(server), "/srv/hangs"], stdout=subprocess.PIPE, text=True)
    assert fuse.stdout is not None
    assert fuse.stdout.readline() == "mounted\n"
    stuck = lab.popen("a", ["sh", "-c", "echo x > /srv/hangs/file"])
    time.sleep(0.3)
    assert stuck.poll() is None, "it waits for the mount"
    begun_s = time.monotonic()
    lab.kill("a")
    assert time.monotonic() - begun_s < 5
    assert stuck.wait(timeout=5) != 0
    fuse.wait(timeout=5)
    fuse.stdout.close()
    lab.start("a")
    assert lab.exec("a", ["ls", "/srv"]).stdout.split() in (["hangs"], [])


def test_mistakes_are_refused_in_a_sentence(lab: Lab) -> None:
    with pytest.raises(CommandRefused, match="is there already"):
        Lab.make(lab.name, size_bytes=320 * MIB)
    with pytest.raises(CommandRefused, match="no node 'c'"):
        lab.kill("c")
    with pytest.raises(CommandRefused, match="on already"):
        lab.start("a")
    with pytest.raises(CommandRefused, match="lan and flow"):
        lab.cut("a", ["wan"])
    with pytest.raises(OperatorError, match="exit code 3"):
        lab.exec("a", ["sh", "-c", "exit 3"])
    lab.kill("a")
    with pytest.raises(CommandRefused, match="is off"):
        lab.exec("a", ["true"])


def test_down_finds_everything_after_the_tool_was_killed(tmp_path: Path) -> None:
    """The process that made the lab dies at a random point; nothing stays after `down`."""
    name = f"k{os.getpid()}"
    make = (
        "from pathlib import Path; from twofold.lab.lab import Lab; import time; "
        f"Lab.make({name!r}, size_bytes=320 << 20, directory=Path({str(tmp_path)!r})); "
        "time.sleep(60)"
    )
    for delay_s in (0.25, 0.4, 0.5, 1.5):
        maker = subprocess.Popen([sys.executable, "-c", make], env=hosts.python_environment())
        time.sleep(delay_s)
        maker.kill()
        maker.wait()
        Lab.take_down(name)
        assert hosts.leftover_inits(name) == []
        for image in (tmp_path / name / "a.img", tmp_path / name / "b.img"):
            assert not image.exists() or disks.devices_of(image) == []
        assert name not in record.names()
        assert f"/{name}/" not in Path("/proc/self/mountinfo").read_text()
    assert not Lab.take_down(name), "once more does nothing"
