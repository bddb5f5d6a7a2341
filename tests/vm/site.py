"""The module `site` (SQLite behind HTTP as a systemd unit), and a writer on the client host
that counts.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from typing import Any

from twofold.lab.clients.sqlite_writer import text_of
from twofold.lab.ledger import Ledger

from .guest import PATIENCE, GuestFailed
from .network import VIRTUAL
from .pair import Pair

MODULE = "site"
DIRECTORY = "/srv/site"
UNIT = "vm-site.service"
PORT = 8080


def install(pair: Pair) -> None:
    """The unit on both nodes, the module on one of them, a good copy on a."""
    pair.both(f"mkdir -p {DIRECTORY} && cp /payload/{UNIT} /etc/systemd/system/")
    pair.both("systemctl daemon-reload")
    app = "/opt/twofold/lib/python3.*/site-packages/twofold/library/sqlite-demo/scripts"
    pair["a"].run(
        f"mkdir -p /root/site && cp /payload/site/* /root/site && cp -r {app} /root/site/"
    )
    pair["a"].run(f"twofold module add {MODULE} --from /root/site")
    # Not followed by the command, which gives a busy daemon a quarter of a minute to answer.
    pair["a"].run(f"twofold prim {MODULE} --no-wait")
    pair.wait_serves("a", MODULE)
    pair["b"].run(f"twofold start {MODULE} --no-wait")
    pair.wait_both_ready(MODULE)


class SiteWriter:
    """Writes numbered rows through the virtual address from the client host until `stop`.

    Times are this machine's; a write counts from the arrival of its acknowledgement.
    """

    def __init__(self, pair: Pair, first: int, seed: int = 1) -> None:
        self.ledger = Ledger()
        self.seed = seed
        program = [sys.executable, "-m", "twofold.lab.clients.sqlite_writer", "--address", VIRTUAL]
        words = ["--seed", str(seed), "--first", str(first), "--workers", "2", "--pause-ms", "50"]
        self._process = pair.network.popen(
            [*program, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._lock = threading.Lock()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            fact: dict[str, Any] = json.loads(line)
            with self._lock:
                self.ledger.acknowledged(fact["n"], fact["t"])

    @property
    def count(self) -> int:
        with self._lock:
            return self.ledger.count

    def wait_more(self, further: int, timeout_s: float = 240.0) -> None:
        """Until so many more writes are acknowledged."""
        wanted, deadline = self.count + further, time.monotonic() + timeout_s * PATIENCE
        while self.count < wanted:
            if self._process.poll() is not None:
                raise GuestFailed("the writer on the client ended by itself")
            if time.monotonic() > deadline:
                raise GuestFailed(f"no {further} writes were acknowledged within {timeout_s:.0f} s")
            time.sleep(0.05)

    def outage_ms(self, event_s: float) -> int:
        with self._lock:
            gap_s = self.ledger.outage_s(event_s, time.monotonic())
        if gap_s is None:
            raise GuestFailed("no write was acknowledged after the event")
        return round(gap_s * 1000)

    def stop(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=10)
        self._reader.join(timeout=10)

    def lost(self, pair: Pair) -> list[str]:
        """Acknowledged rows that the service does not have any more, or has with another text."""
        found = rows(pair)
        lost = [f"row {n}" for n in self.ledger.lost(found)]
        mine = set(self.ledger.numbers) & found.keys()
        return lost + [
            f"row {n} differs" for n in sorted(mine) if found[n] != text_of(n, self.seed)
        ]


_FETCH = """
import sys, urllib.request
sys.stdout.write(urllib.request.urlopen(sys.argv[1], timeout=60).read().decode())
"""


def rows(pair: Pair) -> dict[int, str]:
    found: dict[int, str] = {}
    while True:
        start = max(found, default=-1) + 1
        url = f"http://{VIRTUAL}:{PORT}/rows?from={start}&limit=5000"
        text = pair.network.run(sys.executable, "-c", _FETCH, url, timeout_s=90)
        page = {row["n"]: row["text"] for row in json.loads(text)["rows"]}
        if not page:
            return found
        found |= page


def differences(pair: Pair, directory: str = DIRECTORY) -> list[str]:
    """What the two copies do not have in common; nobody may write meanwhile.

    A disk image counts by its data: to read a hundred GiB of holes takes hours on an emulated
    processor.
    """
    listing = (
        f"cd {directory} && find . -xdev -type f ! -name '*.img' -print0 | sort -z "
        "| xargs -0r sha256sum; find . -xdev -type f -name '*.img' "
        "-exec python3 /payload/sparse_digest.py {} ';'; "
        f"find . -xdev -printf '%y %m %U %G %s %p\\n' | sort"
    )
    first, second = (set(text.splitlines()) for text in pair.both(listing, timeout_s=600))
    return sorted(first ^ second)
