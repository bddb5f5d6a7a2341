"""Writes numbered rows to the demo application and reports each acknowledgement.

A number is tried until it is acknowledged (the application writes a number once, however often it
is asked), so at any moment each worker has at most one write whose fate it does not know. Time-outs
are short: the pause in the report is the service's, not the client's patience. What hinders a write
is reported once for each kind of hindrance in a row: when a service does not come back, that is
what one wants to know.
"""

from __future__ import annotations

import argparse
import hashlib
import http.client
import itertools
import json
import threading

from .reporting import report, stop_with_standard_input

CONNECT_TIMEOUT_S = 0.3
ANSWER_TIMEOUT_S = 1.0
RETRY_AFTER_S = 0.05


def text_of(number: int, seed: int) -> str:
    """What is written under a number: known to whoever checks it, different for each."""
    return hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=12).hexdigest()


class Worker:
    def __init__(self, address: str, port: int, stopped: threading.Event) -> None:
        self._address = address
        self._port = port
        self._stopped = stopped
        self._connection: http.client.HTTPConnection | None = None
        self._hindrance = ""

    def write(self, number: int, text: str) -> bool:
        """True as soon as the row is acknowledged; False only when we are to stop."""
        while not self._stopped.is_set():
            try:
                refusal = self._attempt(number, text)
            except (OSError, http.client.HTTPException) as failure:
                refusal = f"{type(failure).__name__}: {failure}"
            if not refusal:
                self._hindrance = ""
                return True
            if refusal != self._hindrance:
                self._hindrance = refusal
                report(hindrance=refusal)
            self._hang_up()
            self._stopped.wait(RETRY_AFTER_S)
        return False

    def _attempt(self, number: int, text: str) -> str:
        """What hinders the write; empty: it is acknowledged."""
        connection = self._connection
        if connection is None:
            connection = http.client.HTTPConnection(
                self._address, self._port, timeout=CONNECT_TIMEOUT_S
            )
            try:
                connection.connect()
            except OSError as failure:
                return f"no connection: {failure}"
            connection.sock.settimeout(ANSWER_TIMEOUT_S)
            self._connection = connection
        body = json.dumps({"n": number, "text": text})
        connection.request("POST", "/append", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        told = answer.read()
        if answer.status == 200 and json.loads(told)["n"] == number:
            return ""
        return f"{answer.status}: {told[:200].decode(errors='replace')}"

    def _hang_up(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--pause-ms", type=float, default=5.0)
    asked = parser.parse_args()
    stopped = stop_with_standard_input()
    numbers = itertools.count(asked.first)
    lock = threading.Lock()

    def work() -> None:
        worker = Worker(asked.address, asked.port, stopped)
        while not stopped.wait(asked.pause_ms / 1000):
            with lock:
                number = next(numbers)
            if worker.write(number, text_of(number, asked.seed)):
                report(n=number)

    workers = [threading.Thread(target=work, daemon=True) for _ in range(asked.workers)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()


if __name__ == "__main__":
    main()
