"""The pair as the installer left it, kept with its memory, to go on from in a later run.

Where the tests of a run are what matters, and not the installer before them, `make test-vm
ARGS=--again` saves what boot, package and installer take on emulated processors. One pair is kept,
under a digest of all that it was made of (recipe of the image, package, programs, and this folder's
ways of booting and installing); with anything else it is not used. Without `--again` everything is
made anew.

Both machines are paused while they are written, so that neither misses the other. When they go on
later only their wall clocks are behind: these are set.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import time
from pathlib import Path

from .image import CACHE, recipe_digest
from .monitor import Monitor
from .pair import NODES, Pair, progress

_NAME = "installed"
_MADE_BY = ("guest", "installer", "network", "pair")


def _place(pair: Pair) -> Path:
    sources = [Path(__file__).with_name(f"{name}.py").read_text() for name in _MADE_BY]
    made_of = "\n".join([recipe_digest(), pair.payload_digest, *sources])
    return CACHE / f"pair-{hashlib.sha256(made_of.encode()).hexdigest()[:16]}"


def save(pair: Pair) -> None:
    """After the installer. The machines go on."""
    place, begun = _place(pair), time.monotonic()
    for old in CACHE.glob("pair-*"):
        shutil.rmtree(old)
    making = CACHE / "pair-making"
    making.mkdir()
    for node in NODES:
        pair[node].hang_up()
    monitors = [pair[node].monitor() for node in NODES]
    for monitor in monitors:
        monitor.pause()
    for monitor in monitors:
        monitor.keep(_NAME)
    for node in NODES:
        _copy(pair[node].disk, making)
    _copy(pair.payload, making)
    making.rename(place)
    _go_on(monitors)
    for node in NODES:
        pair[node].connect()
    progress(f"kept in {place}, {time.monotonic() - begun:.0f} s")


def load(pair: Pair) -> bool:
    """Both machines as they were, if they were kept."""
    place = _place(pair)
    if not place.is_dir():
        progress("no such pair is kept: everything is made anew")
        return False
    for path in place.iterdir():
        _copy(path, pair.folder)
    for node in NODES:
        pair[node].power_on(kept=_NAME)
    _go_on([pair[node].monitor() for node in NODES])
    for node in NODES:
        pair[node].connect()
    pair.both(f"date -s @{time.time():.0f}")
    progress(f"goes on from {place}")
    return True


def _go_on(monitors: list[Monitor]) -> None:
    """At once, as far as that goes: the other machine misses milliseconds."""
    for monitor in monitors:
        monitor.go_on()
    for monitor in monitors:
        monitor.close()


def _copy(path: Path, folder: Path) -> None:
    words = ["cp", "--reflink=auto", "--sparse=always", path, folder / path.name]
    subprocess.run(words, check=True, timeout=300)
