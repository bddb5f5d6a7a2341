"""Making a split brain of two engines, and looking for what the loser had."""

from __future__ import annotations

import ctypes
import json
import os
import stat
import subprocess
from pathlib import Path
from typing import Any

from tests.fs.engines import Engine, Pair
from twofold import _mirror


def rescues(engine: Engine) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(_mirror.rescue_list(engine.config["state_dir"]))
    return found


def privileges() -> str:
    """What this process may do and gives on to programs it starts."""
    status = Path("/proc/self/status").read_text().splitlines()
    bits = ctypes.CDLL(None).prctl(27, 0, 0, 0, 0)  # PR_GET_SECUREBITS
    return f"{bits} {[line for line in status if line.startswith(('Cap', 'Umask', 'Uid'))]}"


def extract(engine: Engine, name: str, into: Path, with_current: bool = False) -> dict[str, Any]:
    state = engine.config["state_dir"]
    before = privileges()
    done: dict[str, Any] = json.loads(_mirror.rescue_extract(state, name, into, with_current))
    assert privileges() == before
    return done


def split(pair: Pair) -> tuple[Engine, Engine]:
    """Both have served alone from the same data; returns (the one that serves now, the loser)."""
    pair.start()
    pair.b.kill()
    pair.a.wait_status(link="down")
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    return pair.b, pair.a


def win(pair: Pair, winner: Engine, loser: Engine, writes: bool = True) -> None:
    """The loser's machine goes down; the other is made to serve although it may be older."""
    loser.kill()
    winner.start()
    winner.command("become_primary", epoch=pair.next_epoch(), alone=True, force=True, first=False)
    if writes:
        (winner.tree / "served").write_text("a write of its own")


def follow(pair: Pair, loser: Engine) -> None:
    loser.start()
    loser.command("become_secondary", epoch=pair.epoch)


def let_go(pair: Pair, winner: Engine) -> None:
    """The other is gone: the winner goes on without it, as its control plane would say."""
    winner.wait_status(link="down")
    if winner.status()["frozen"]:
        winner.command("continue_alone", epoch=pair.next_epoch())


def told(path: Path) -> tuple[Any, ...]:
    """All that can be told of a name, but its contents."""
    s = path.lstat()
    target = os.readlink(path) if path.is_symlink() else ""
    xattrs = {n: os.getxattr(path, n, follow_symlinks=False)
              for n in os.listxattr(path, follow_symlinks=False)}  # fmt: skip
    return (stat.S_IFMT(s.st_mode), s.st_mode, s.st_uid, s.st_gid, target, s.st_rdev, xattrs)


def contents(path: Path) -> bytes:
    regular = path.is_file() and not path.is_symlink()
    return path.read_bytes() if regular else b""


def copy_of(tree: Path, to: Path) -> Path:
    subprocess.run(["cp", "-a", str(tree), str(to)], check=True)
    return to


def assert_found(loser: Path, winner: Path, found: Path) -> int:
    """Whatever the loser had and the winner, when the resync began, had not, stands in `found` as
    it was."""
    count = 0
    for folder, folders, files in os.walk(loser):
        for name in [*folders, *files]:
            was = Path(folder) / name
            below = was.relative_to(loser)
            now, saved = winner / below, found / below
            kept = os.path.lexists(now) and stat.S_IFMT(now.lstat().st_mode) == stat.S_IFMT(
                was.lstat().st_mode
            )
            if was.is_dir() and not was.is_symlink():
                continue
            if kept and contents(now) == contents(was):
                continue
            assert os.path.lexists(saved), f"{below} is lost"
            assert told(saved) == told(was), below
            assert contents(saved) == contents(was), below
            if not was.is_symlink():
                assert saved.lstat().st_mtime_ns == was.lstat().st_mtime_ns, below
            count += 1
    return count


def diverged(pair: Pair, bytes_each: int, count: int) -> tuple[Engine, Engine]:
    (pair.a.tree / "common").write_text("common")
    winner, loser = split(pair)
    for number in range(count):
        (loser.tree / f"only{number}").write_bytes(os.urandom(bytes_each))
    win(pair, winner, loser)
    follow(pair, loser)
    return winner, loser
