"""Places on a disk's file system for the engines of a test."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.fs.engines import Pair


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """So that `-m "not root and not fuse"` leaves out what is in this directory."""
    for item in items:
        if item.path.is_relative_to(Path(__file__).parent):
            item.add_marker(pytest.mark.root)
            item.add_marker(pytest.mark.fuse)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, Any, Any]:
    """A failure that comes once in a thousand times must say what the engines saw."""
    report = yield
    pair = getattr(item, "funcargs", {}).get("pair")
    if report.when == "call" and report.failed and isinstance(pair, Pair):
        report.sections.append(("engines", pair.account()))
    return report


def new_home() -> Path:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("needs root and /dev/fuse")
    # Not under /tmp: that may be a tmpfs, and the trees should lie on a disk's file system.
    home = Path(tempfile.mkdtemp(prefix="twofold-fs-", dir="/var/tmp"))
    home.chmod(0o755)  # other users come to the trees below
    return home


@pytest.fixture
def home() -> Path:
    return new_home()


@pytest.fixture(scope="module")
def module_home() -> Iterator[Path]:
    """For engines that serve all tests of a module; it goes when they have left it."""
    home = new_home()
    yield home
    if str(home) not in Path("/proc/mounts").read_text():
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture
def pair(home: Path, request: pytest.FixtureRequest) -> Iterator[Pair]:
    options: dict[str, Any] = getattr(request, "param", {})
    engines = Pair(home, **options)
    try:
        yield engines
    finally:
        engines.close()


@pytest.fixture
def small_disk(home: Path) -> Iterator[Path]:
    """A file system of 32 MiB of its own."""
    place = home / "small"
    place.mkdir()
    image = home / "small.img"
    with image.open("wb") as file:
        file.truncate(32 << 20)
    subprocess.run(["mkfs.ext4", "-q", "-m0", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=False)
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def on_xfs(place: Path) -> Generator[Path]:
    """A file system of the other kind than the machine's own, at this place."""
    if "xfs" not in Path("/proc/filesystems").read_text().split() or not shutil.which("mkfs.xfs"):
        pytest.skip("the machine has no xfs")
    place.mkdir()
    image = place.with_suffix(".img")
    with image.open("wb") as file:
        file.truncate(1 << 30)
    subprocess.run(["mkfs.xfs", "-q", str(image)], check=True)
    subprocess.run(["mount", "-o", "loop", str(image), str(place)], check=True)
    place.chmod(0o755)
    try:
        yield place
    finally:
        # Lazily where a test that failed has left a file open: nothing may stay behind.
        if subprocess.run(["umount", str(place)], check=False).returncode != 0:
            subprocess.run(["umount", "-l", str(place)], check=False)
        image.unlink()
