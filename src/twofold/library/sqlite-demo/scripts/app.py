#!/usr/bin/env python3
"""A small application with a database in it: SQLite behind HTTP, standard library only.

    POST /append {"n": 7, "text": "..."}   one row, answered 200 only after the commit is on disk
    GET  /rows?from=N[&limit=M]            rows with n >= N, as JSON
    GET  /count                            {"rows": ..., "highest": ...}
    GET  /                                 the same for people

Run it: app.py --database /srv/demo/demo.sqlite --port 8080
A number written twice is written once: a client that got no answer asks again without harm.
"""

from __future__ import annotations

import argparse
import html
import json
import signal
import socket
import sqlite3
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

LARGEST_BODY_BYTES = 64 * 1024
_SCHEMA = "CREATE TABLE IF NOT EXISTS rows (n INTEGER PRIMARY KEY, text TEXT NOT NULL)"
_PAGE = """<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="1">
<title>Twofold demo</title><style>body{{font:16px system-ui;margin:3em auto;max-width:40em}}
td{{padding:.1em 1em .1em 0}}</style>
<h1>{rows} rows</h1><p>Served by <b>{host}</b>, database {path}.</p>
<table>{table}</table>"""


class Store:
    """One connection, one writer at a time: what the lock guards is the commit."""

    def __init__(self, path: str, journal: str) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._database = sqlite3.connect(path, check_same_thread=False, timeout=10)
        self._database.execute(f"PRAGMA journal_mode={journal}")
        # EXTRA, not FULL: FULL does not sync the directory after a commit has unlinked the
        # journal, so a power cut right after a commit may undo it.
        self._database.execute("PRAGMA synchronous=EXTRA")
        self._database.execute(_SCHEMA)
        self._database.commit()

    def append(self, number: int, text: str) -> None:
        with self._lock, self._database:
            self._database.execute("INSERT OR IGNORE INTO rows VALUES (?, ?)", (number, text))

    def rows(self, first: int, limit: int) -> list[dict[str, Any]]:
        with self._lock:
            found = self._database.execute(
                "SELECT n, text FROM rows WHERE n >= ? ORDER BY n LIMIT ?", (first, limit)
            ).fetchall()
        return [{"n": number, "text": text} for number, text in found]

    def count(self) -> dict[str, int]:
        with self._lock:
            row = self._database.execute("SELECT count(*), max(n) FROM rows").fetchone()
        return {"rows": row[0], "highest": row[1] or 0}

    def last(self, limit: int) -> list[tuple[int, str]]:
        with self._lock:
            return self._database.execute(
                "SELECT n, text FROM rows ORDER BY n DESC LIMIT ?", (limit,)
            ).fetchall()

    def close(self) -> None:
        with self._lock:
            self._database.close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: Store
    timeout = 30

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        try:
            if url.path == "/rows":
                first = int(query.get("from", ["0"])[0])
                limit = min(int(query.get("limit", ["10000"])[0]), 100_000)
                self._reply(200, {"rows": self.store.rows(first, limit)})
            elif url.path == "/count":
                self._reply(200, self.store.count())
            elif url.path == "/":
                self._reply_page()
            else:
                self._reply(404, {"error": f"There is nothing at {url.path}."})
        except ValueError:
            self._reply(400, {"error": "from and limit are whole numbers."})
        except sqlite3.Error as failure:
            self._reply(503, {"error": f"The database failed: {failure}"})

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if length > LARGEST_BODY_BYTES:
            self.close_connection = True
            self._reply(413, {"error": f"A row has at most {LARGEST_BODY_BYTES} bytes."})
            return
        body = self.rfile.read(length)
        try:
            asked = json.loads(body)
            number, text = int(asked["n"]), str(asked["text"])
        except (ValueError, KeyError, TypeError):
            self._reply(400, {"error": 'A row is {"n": number, "text": "..."}.'})
            return
        try:
            self.store.append(number, text)
        except sqlite3.Error as failure:
            self._reply(503, {"error": f"Not written: {failure}"})
            return
        self._reply(200, {"n": number, "host": socket.gethostname()})

    def _reply(self, status: int, body: dict[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(body).encode())

    def _reply_page(self) -> None:
        table = "".join(
            f"<tr><td>{number}<td>{html.escape(text)}" for number, text in self.store.last(20)
        )
        page = _PAGE.format(
            rows=self.store.count()["rows"],
            host=html.escape(socket.gethostname()),
            path=html.escape(self.store.path),
            table=table,
        )
        self._send(200, "text/html; charset=utf-8", page.encode())

    def _send(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """One line for each request would drown the log."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


def main() -> int:
    parser = argparse.ArgumentParser(description="SQLite behind HTTP.")
    parser.add_argument("--database", required=True)
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--journal", default="DELETE", choices=["DELETE", "TRUNCATE", "WAL"])
    asked = parser.parse_args()
    try:
        store = Store(asked.database, asked.journal)
    except sqlite3.Error as failure:
        sys.stderr.write(f"The database {asked.database} cannot be opened: {failure}\n")
        return 1
    Handler.store = store
    server = Server(("", asked.port), Handler)

    def end(number: int, frame: object) -> None:
        # `shutdown` waits for the loop that this handler interrupts, so it needs its own thread.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, end)
    sys.stderr.write(f"serving {asked.database} on port {asked.port}\n")
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    store.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
