"""Tools that write many files: each work is done below a given place, from the same material.

A work returns what its user would look at; it has no times and no absolute names in it.
"""

from __future__ import annotations

import hashlib
import os
import random
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

WHEEL = "twofold_sample-1.0-py3-none-any.whl"


def run(*command: str | Path, cwd: Path | None = None) -> str:
    environment = os.environ | {"GIT_CONFIG_NOSYSTEM": "1", "HOME": "/dev/null", "LC_ALL": "C"}
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def prepare(material: Path) -> None:
    """A repository with some history and branches, a wheel, a file of random bytes."""
    material.mkdir()
    rng = random.Random(1)
    (material / "bytes").write_bytes(rng.randbytes(8 << 20))
    repository = material / "repository"
    repository.mkdir()
    git = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-C", repository)
    run("git", "init", "-q", "-b", "main", repository)
    for revision in range(4):
        for number in range(60):
            file = repository / f"d{number % 7}" / f"file {number}"
            file.parent.mkdir(exist_ok=True)
            file.write_text(f"{revision} {number}\n" * rng.randrange(200))
        (repository / "d0" / f"link {revision}").symlink_to("../d1")
        (repository / "d1" / "file 1").chmod(0o755)
        run(*git, "add", "-A")
        run(*git, "commit", "-q", "-m", f"revision {revision}")
        run(*git, "branch", f"branch-{revision}")
    _make_wheel(material / WHEEL)


def _make_wheel(path: Path) -> None:
    name = "twofold_sample"
    info = f"{name}-1.0.dist-info"
    files = {f"{name}/part{n}.py": f"VALUE = {n}\n" for n in range(100)}
    files[f"{name}/__init__.py"] = "def answer() -> int:\n    return 42\n"
    files[f"{info}/METADATA"] = "Metadata-Version: 2.1\nName: twofold-sample\nVersion: 1.0\n"
    files[f"{info}/WHEEL"] = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    files[f"{info}/entry_points.txt"] = "[console_scripts]\nsample = twofold_sample:answer\n"
    files[f"{info}/RECORD"] = "".join(f"{file},,\n" for file in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)


def dd(material: Path, place: Path) -> object:
    source = f"if={material / 'bytes'}"
    ways = {
        "plain": ("bs=4k",),
        "synced": ("bs=64k", "oflag=dsync", "count=20"),
        "direct": ("bs=512", "oflag=direct", "count=200"),
        "large": ("bs=1M", "conv=fsync", "oflag=direct"),
        "seeking": ("bs=1M", "seek=100", "conv=sparse,fdatasync"),
    }
    for name, options in ways.items():
        run("dd", source, f"of={place / name}", "status=none", *options)
    run("dd", source, f"of={place / 'plain'}", "bs=1000", "seek=77", "count=5", "conv=notrunc")
    return {name: hashlib.sha256((place / name).read_bytes()).hexdigest() for name in ways}


def git(material: Path, place: Path) -> object:
    clone = place / "clone"
    run("git", "clone", "-q", "--no-hardlinks", material / "repository", clone)
    here = ("git", "-c", "user.name=n", "-c", "user.email=e@example.org", "-C", clone)
    told = [run(*here, "rev-parse", "HEAD"), run(*here, "status", "--porcelain")]
    run(*here, "checkout", "-q", "origin/branch-0")
    run(*here, "checkout", "-q", "main")
    run(*here, "repack", "-adq")
    run(*here, "gc", "-q", "--prune=now")
    run(*here, "worktree", "add", "-q", place / "worktree", "origin/branch-1")
    told += [run(*here, "fsck", "--full", "--strict"), run(*here, "status", "--porcelain")]
    return told, run(*here, "rev-parse", "origin/branch-1"), run(*here, "ls-files", "-s")


def pip(material: Path, place: Path) -> object:
    venv = place / "venv"
    run(sys.executable, "-m", "venv", venv)
    python = venv / "bin" / "python"
    install = (python, "-m", "pip", "install", "-q", "--no-index", "--no-deps")
    run(*install, "--disable-pip-version-check", material / WHEEL)
    told = run(python, "-m", "pip", "list", "--format=freeze", "--disable-pip-version-check")
    answer = run(python, "-c", "import twofold_sample.part99 as p; print(p.VALUE)")
    files = sorted(path.name for path in venv.rglob("twofold_sample/*.py"))
    return told, answer, files


def tar(material: Path, place: Path) -> object:
    archive = place / "archive.tar"
    run("tar", "-C", material, "-cf", archive, "repository")
    (place / "out").mkdir()
    run("tar", "-C", place / "out", "--xattrs", "-xpf", archive)
    run("cp", "-a", place / "out", place / "copy")
    run("diff", "-r", "--no-dereference", material / "repository", place / "copy" / "repository")
    run("rm", "-r", place / "out")
    run("mv", place / "copy", place / "moved")
    return sorted(str(path.relative_to(place)) for path in place.rglob("*"))


WORKS: list[Callable[[Path, Path], object]] = [dd, git, pip, tar]
