from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fs.engines import Pair


@pytest.fixture
def home() -> Iterator[Path]:
    if os.geteuid() != 0 or not Path("/dev/fuse").exists():
        pytest.skip("needs root and /dev/fuse")
    # Not under /tmp: that may be a tmpfs, and the trees should lie on a disk's file system.
    yield Path(tempfile.mkdtemp(prefix="twofold-fs-", dir="/var/tmp"))


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
