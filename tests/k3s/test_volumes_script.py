"""The module's script for the volume image, on a real loop device and a real XFS."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import pytest

import twofold

SCRIPT = Path(twofold.__file__).parent / "library/k3s/scripts/volumes"
MIB = 1 << 20

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


@dataclass
class Volumes:
    directory: Path
    mount: Path
    release_s: int = 4

    @property
    def image(self) -> Path:
        return self.directory / "volumes.img"

    def call(self, action: str, **more: str) -> tuple[int, str]:
        environment = {
            **os.environ,
            "DIRECTORY": str(self.directory),
            "MOUNT": str(self.mount),
            "SIZE": "320M",
            "RELEASE_S": str(self.release_s),
            **more,
        }
        done = subprocess.run(
            [SCRIPT, action], env=environment, capture_output=True, text=True, timeout=60
        )
        return done.returncode, done.stderr

    def loops(self) -> str:
        command = ["losetup", "--noheadings", "--output", "NAME", "--associated", self.image]
        return subprocess.run(command, capture_output=True, text=True, timeout=10).stdout.strip()


@pytest.fixture
def volumes(tmp_path: Path) -> Generator[Volumes]:
    (tmp_path / "replicated").mkdir()
    made = Volumes(tmp_path / "replicated", tmp_path / "mount")
    try:
        yield made
    finally:
        subprocess.run(["umount", made.mount], capture_output=True, timeout=30)
        subprocess.run(["chattr", "-i", made.mount], capture_output=True, timeout=10)
        for device in made.loops().split():
            subprocess.run(["losetup", "--detach", device], timeout=10, check=False)


def test_made_once_mounted_and_let_go(volumes: Volumes) -> None:
    assert volumes.call("start") == (0, "")
    assert os.path.ismount(volumes.mount)
    assert volumes.image.stat().st_blocks * 512 < 100 * MIB, "it is sparse"
    (volumes.mount / "pv").write_text("kept")
    assert volumes.call("stop") == (0, "")
    assert not os.path.ismount(volumes.mount)
    assert volumes.loops() == ""
    with pytest.raises(OSError):
        (volumes.mount / "stray").write_text("no")  # nobody writes beside the image by mistake
    assert volumes.call("start") == (0, "")
    assert (volumes.mount / "pv").read_text() == "kept"
    assert (volumes.mount / ".nfsdcld").stat().st_mode & 0o777 == 0o700


def test_what_was_deleted_is_free_on_the_disk_again(volumes: Volumes) -> None:
    assert volumes.call("start")[0] == 0
    (volumes.mount / "big").write_bytes(os.urandom(64 * MIB))
    os.sync()
    full = volumes.image.stat().st_blocks
    (volumes.mount / "big").unlink()
    os.sync()
    until = time.monotonic() + 20
    while volumes.image.stat().st_blocks > full - (32 * MIB) // 512:
        assert time.monotonic() < until, "deleting a file must punch holes into the image"
        time.sleep(0.2)
        subprocess.run(["sync", "--file-system", volumes.mount], check=True, timeout=30)


def test_a_larger_image_is_used_at_the_next_start(volumes: Volumes) -> None:
    assert volumes.call("start")[0] == 0
    before = os.statvfs(volumes.mount).f_blocks
    assert volumes.call("stop")[0] == 0
    os.truncate(volumes.image, 512 * MIB)
    assert volumes.call("start")[0] == 0
    assert os.statvfs(volumes.mount).f_blocks > before * 1.4


def test_a_forgotten_shell_does_not_hold_up_the_stop(volumes: Volumes) -> None:
    volumes.release_s = 12  # it is ended after half of it; a busy machine needs time for the rest
    assert volumes.call("start")[0] == 0
    with subprocess.Popen(["sleep", "600"], cwd=volumes.mount) as shell:
        code, said = volumes.call("stop")
        assert code == 0, said
        assert "still in use, ended now" in said
        assert shell.wait(5) == -9


def test_a_stop_that_cannot_be_is_told_within_its_bound(volumes: Volumes, tmp_path: Path) -> None:
    """What even SIGKILL does not end: here a mount below it, which no signal removes."""
    assert volumes.call("start")[0] == 0
    inner = volumes.mount / "inner"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True, timeout=10)
    try:
        begun = time.monotonic()
        code, said = volumes.call("stop")
        assert time.monotonic() - begun < 15
        assert code == 1
        assert f"{volumes.mount} could not be unmounted within 4 s" in said
        assert os.path.ismount(volumes.mount), "never unmounted lazily"
    finally:
        subprocess.run(["umount", inner], check=True, timeout=10)
    assert volumes.call("stop") == (0, "")


def test_a_bound_is_one_of_time_also_where_each_try_takes_long(
    volumes: Volumes, tmp_path: Path
) -> None:
    """A busy machine: each program takes two seconds."""
    assert volumes.call("start")[0] == 0
    slow = tmp_path / "slow"
    slow.mkdir()
    for name in ("umount", "awk"):
        (slow / name).write_text(f'#!/bin/sh\nsleep 2\nPATH=${{PATH#*:}} exec {name} "$@"\n')
        (slow / name).chmod(0o755)
    inner = volumes.mount / "inner"
    inner.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", inner], check=True, timeout=10)
    try:
        begun = time.monotonic()
        code, said = volumes.call("stop", PATH=f"{slow}:{os.environ['PATH']}", RELEASE_S="3")
        assert code == 1
        assert f"{volumes.mount} could not be unmounted within 3 s" in said
        assert time.monotonic() - begun < 14
    finally:
        subprocess.run(["umount", inner], check=True, timeout=10)


def test_an_image_that_is_gone_is_not_replaced_by_an_empty_one(volumes: Volumes) -> None:
    assert volumes.call("start")[0] == 0
    assert volumes.call("stop")[0] == 0
    volumes.image.unlink()
    code, said = volumes.call("start")
    assert code == 1
    assert "is gone, but it was made once" in said


def test_a_datastore_alone_has_no_volumes(volumes: Volumes) -> None:
    assert volumes.call("start", VOLUMES="off") == (0, "")
    assert not volumes.image.exists()
