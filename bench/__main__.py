"""`python -m bench`: build the sandbox, start every subject, measure in rounds, print, keep.

python -m bench                     everything, three rounds of six seconds each
python -m bench --only gluster,bare --rounds 1 --runtime 2
python -m bench --show              the table of the run that is kept
python -m bench --page              writes docs/performance.md from the run that is kept
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import page, pair, report, sandbox
from bench.gluster import Gluster
from bench.works import FILE_MIB, WORKS, lay_out, measure

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "latest.json"
PAGE = ROOT / "docs" / "performance.md"
# Twofold's subjects: port, and what is special.
TWOFOLD: dict[str, dict[str, Any]] = {
    "mount": {"port": 9100, "alone": True},
    "twofold_write": {"port": 9101},
    "twofold_direct": {"port": 9102, "cache": "none"},
    "twofold_plain": {"port": 9103, "flow_encryption": "off"},
    "twofold_fsync": {"port": 9104, "sync": "fsync"},
}
SUBJECTS = ("bare", *TWOFOLD, "gluster")


def arguments(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="measure and compare")
    parser.add_argument("--rounds", type=int, default=3, help="the figure is their median")
    parser.add_argument("--runtime", type=float, default=6, help="seconds of each work")
    parser.add_argument("--only", default=",".join(SUBJECTS), help="subjects, with commas")
    parser.add_argument("--works", default=",".join(w.name for w in WORKS), help="with commas")
    parser.add_argument("--work", type=Path, default=ROOT / "bench" / "work", help="scratch folder")
    parser.add_argument("--images", action="store_true", help="a file system image for each node")
    parser.add_argument("--json", type=Path, default=RESULTS, help="where the result is kept")
    parser.add_argument("--show", action="store_true", help="only print what is kept")
    parser.add_argument("--page", action="store_true", help="only write the page of what is kept")
    chosen = parser.parse_args(words)
    known = {"subject": set(SUBJECTS), "work": {w.name for w in WORKS}}
    for kind, named in (("subject", chosen.only), ("work", chosen.works)):
        wrong = set(named.split(",")) - known[kind]
        if wrong:
            parser.error(f"no such {kind}: {', '.join(wrong)}; there are {sorted(known[kind])}")
    return chosen


def start(
    name: str, nodes: dict[str, sandbox.Node], work: Path, tls: dict[str, dict[str, str]]
) -> tuple[Path, Callable[[], None]]:
    """Start one subject: where it is measured, and how it ends."""
    if name == "bare":
        path = nodes["a"].disk / "bare"
        path.mkdir()
        return path, lambda: None
    if name == "gluster":
        gluster = Gluster(nodes, work)
        gluster.start()
        return gluster.path, lambda: None
    subject = pair.Twofold(work / name, nodes, tls, **TWOFOLD[name])
    subject.start()
    return subject.path, subject.stop


def under(work: Path) -> str:
    return sandbox.run("stat", "--file-system", "--format=%T", work).strip()


def machine(work: Path, *, images: bool) -> dict[str, Any]:
    gluster = subprocess.run(
        ["glusterfs", "--version"], capture_output=True, text=True, check=False
    )
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "load": os.getloadavg(),
        "glusterfs": gluster.stdout.partition("\n")[0],
        "file_mib": FILE_MIB,
        "disks": "an ext4 image for each node" if images else f"directories on {under(work)}",
    }


def compare(chosen: argparse.Namespace) -> dict[str, Any]:
    """The whole run, inside the sandbox."""
    nodes = sandbox.build(chosen.work, images=chosen.images)
    tls = pair.certificates(chosen.work / "pki", tuple(nodes))
    works = [w for w in WORKS if w.name in chosen.works.split(",")]
    about = machine(chosen.work, images=chosen.images)
    paths: dict[str, Path] = {}
    ends: list[Callable[[], None]] = []
    samples: dict[str, dict[str, list[float]]] = {}
    for name in [s for s in SUBJECTS if s in chosen.only.split(",")]:
        print(f"bench: starting {name}", flush=True)
        paths[name], end = start(name, nodes, chosen.work, tls)
        ends.append(end)
        lay_out(paths[name])
        samples[name] = {w.name: [] for w in works}
    began_s = time.monotonic()
    for number in range(1, chosen.rounds + 1):
        for work in works:
            for name, path in paths.items():
                samples[name][work.name].append(measure(work, path, chosen.runtime))
        spent_s = time.monotonic() - began_s
        print(f"bench: round {number} of {chosen.rounds} done, {spent_s:.0f} s", flush=True)
    for end in ends:
        end()
    sandbox.clear(nodes)
    figures = report.medians(samples)
    print("\n" + report.table(figures))
    return {
        "ratios": report.ratios(figures),
        "figures": figures,
        "units": {w.name: w.unit for w in works},
        "samples": samples,
        "rounds": chosen.rounds,
        "runtime_s": chosen.runtime,
        "machine": about,
    }


def main(words: list[str]) -> int:
    chosen = arguments(words)
    if chosen.show:
        kept = json.loads(chosen.json.read_text())
        print(f"{kept['machine']}\n\n{report.table(kept['figures'])}")
        return 0
    if chosen.page:
        PAGE.write_text(page.text(json.loads(chosen.json.read_text())))
        print(f"written: {PAGE}")
        return 0
    if not os.environ.get(sandbox.INSIDE):
        return sandbox.enter(words)
    try:
        result = compare(chosen)
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        print(f"bench: {error}", file=sys.stderr)
        print(f"bench: logs are in {chosen.work}", file=sys.stderr)
        return 1
    chosen.json.parent.mkdir(parents=True, exist_ok=True)
    chosen.json.write_text(json.dumps(result, indent=1) + "\n")
    print(f"\nkept in {chosen.json}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
