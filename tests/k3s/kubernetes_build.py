"""Kubernetes' own programs, made from its public source when a long test needs them.

They are no part of Twofold and no Debian package. Go makes them once, pinned to one version, into
the checkout's cache (ten minutes of two cores). Kubernetes' module names its own parts by a version
that exists only within its repository, so each is replaced by the release of the same number.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from twofold.lab.requirements import find_go

VERSION = "1.34.4"
PROGRAMS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
BUILD_WITHIN_S = 3600.0
MODULE = "k8s.io/kubernetes"
FOLDER = Path(__file__).resolve().parents[2] / ".cache" / f"kubernetes-{VERSION}"


class CannotBuild(Exception):
    """No Go, or Go's last words."""


def provide() -> Path:
    """The folder with `PROGRAMS`; builds what is missing."""
    missing = [name for name in PROGRAMS if not os.access(FOLDER / name, os.X_OK)]
    if missing:
        go = find_go()
        if go is None:
            raise CannotBuild("Go is not here, and Kubernetes' own programs are made with it")
        FOLDER.mkdir(parents=True, exist_ok=True)
        _write_module(go)
        packages = [f"{MODULE}/cmd/{name}" for name in missing]
        _run(go, "build", "-trimpath", "-ldflags", "-s -w", "-o", f"{FOLDER}/", *packages)
    return FOLDER


def _write_module(go: Path) -> None:
    plain = "module kubernetes-for-tests\n\ngo 1.24.0\n"
    (FOLDER / "go.mod").write_text(plain)
    found = json.loads(_run(go, "mod", "download", "-json", f"{MODULE}@v{VERSION}"))
    wanted = Path(found["GoMod"]).read_text()
    parts = sorted(set(re.findall(r"^\s*(k8s\.io/[\w-]+) v0\.0\.0\s*(?://.*)?$", wanted, re.M)))
    release = "v0" + VERSION.removeprefix("1")
    replaced = "".join(f"replace {part} => {part} {release}\n" for part in parts)
    (FOLDER / "go.mod").write_text(f"{plain}\nrequire {MODULE} v{VERSION}\n\n{replaced}")
    apps = "".join(f'import _ "{MODULE}/cmd/{name}/app"\n' for name in PROGRAMS)
    (FOLDER / "needed.go").write_text(f"//go:build needed\n\npackage needed\n\n{apps}")
    _run(go, "mod", "tidy")


def _run(go: Path, *words: str) -> str:
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=mod"}
    try:
        done = subprocess.run(
            [str(go), *words],
            cwd=FOLDER,
            env=env,
            capture_output=True,
            text=True,
            timeout=BUILD_WITHIN_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise CannotBuild(f"`go {words[0]}` did not end in {BUILD_WITHIN_S:.0f} s") from None
    if done.returncode != 0:
        raise CannotBuild(f"`go {' '.join(words[:2])}`: {done.stderr.strip()[-600:]}")
    return done.stdout
