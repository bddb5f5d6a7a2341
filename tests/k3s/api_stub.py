"""A Kubernetes API as far as the take-over uses it, with the real schemas and the real semantics.

Every object that is stored or results from a change is checked against Kubernetes' own schema
(kubernetes-validate); an unknown or wrong field is refused with 422, as a strict server does.
resourceVersion grows with each change and guards patches (409); deletions respect preconditions,
grace periods and finalizers; lists are paged and can be selected by spec.nodeName. `faults` is a
queue of answers to give instead: (status, headers) or a number of seconds to be silent.
"""

from __future__ import annotations

import copy
import itertools
import json
import threading
import time
import uuid
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast
from urllib.parse import parse_qs, urlparse

from tests.k3s import schemas

Thing = dict[str, Any]
PAGE_MAX = 3  # small, so that paging happens


class Refused(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class ApiStub:
    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.objects: dict[str, Thing] = {}  # by path
        self.faults: list[tuple[int, dict[str, str]] | float] = []
        self.log: list[str] = []
        self.before_change: Callable[[str, str], None] = lambda method, path: None
        self._versions = itertools.count(1000)
        self._lock = threading.RLock()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

            def do_GET(self) -> None:
                stub.answer(self, "GET")

            def do_PATCH(self) -> None:
                stub.answer(self, "PATCH")

            def do_DELETE(self) -> None:
                stub.answer(self, "DELETE")

        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    # --- what a test says and asks ----------------------------------------------------------

    def put(self, path: str, thing: Thing) -> Thing:
        """Make or replace an object, as some other client would."""
        with self._lock:
            made = copy.deepcopy(thing)
            metadata = made.setdefault("metadata", {})
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata["resourceVersion"] = str(next(self._versions))
            check(made)
            self.objects[path] = made
            return made

    def changes(self) -> list[str]:
        return [line for line in self.log if not line.startswith("GET")]

    # --- the server -------------------------------------------------------------------------

    def answer(self, to: BaseHTTPRequestHandler, method: str) -> None:
        length = int(to.headers.get("content-length") or 0)
        body: Thing = json.loads(to.rfile.read(length)) if length else {}
        url = urlparse(to.path)
        headers: dict[str, str] = {}
        with self._lock:
            fault = self.faults.pop(0) if self.faults else None
        try:
            if isinstance(fault, tuple):
                headers = fault[1]
                raise Refused(fault[0], "as the test wants")
            if fault is not None:
                time.sleep(fault)
            with self._lock:
                if method != "GET":
                    self.before_change(method, url.path)
                query = {k: v[0] for k, v in parse_qs(url.query).items()}
                content = str(to.headers.get("content-type"))
                status, said = 200, self._do(method, url.path, query, body, content)
        except Refused as refused:
            status = refused.status
            said = {"kind": "Status", "apiVersion": "v1", "message": str(refused), "code": status}
        self.log.append(f"{method} {url.path} {status}")
        text = json.dumps(said).encode()
        try:
            to.send_response(status)
            for name, value in {**headers, "content-type": "application/json"}.items():
                to.send_header(name, value)
            to.send_header("content-length", str(len(text)))
            to.end_headers()
            to.wfile.write(text)
        except OSError:
            pass  # whoever asked has given up

    def _do(self, method: str, path: str, query: Thing, body: Thing, content: str) -> Thing:
        if path == "/readyz":
            return {}
        if path in ("/api/v1/nodes", "/api/v1/pods", "/api/v1/persistentvolumes"):
            return self._list(path.removeprefix("/api/v1/"), query)
        if path not in self.objects:
            raise Refused(404, f"{path} not found")
        if method == "PATCH":
            if content != "application/merge-patch+json":
                raise Refused(415, f"this patch is {content}")
            return self._patch(path, body)
        if method == "DELETE":
            return self._delete(path, body)
        return self.objects[path]

    def _list(self, plural: str, query: Thing) -> Thing:
        kinds = {"nodes": "Node", "pods": "Pod", "persistentvolumes": "PersistentVolume"}
        kind = kinds[plural]
        found = [(p, o) for p, o in sorted(self.objects.items()) if o["kind"] == kind]
        selector = query.get("fieldSelector", "")
        if selector:
            name, _, value = selector.partition("=")
            if name != "spec.nodeName":
                raise Refused(400, f"unknown field selector {name}")
            found = [(p, o) for p, o in found if o["spec"].get("nodeName") == value]
        # The next page begins after the last name, as in etcd: deletions meanwhile hide nothing.
        rest = [(p, o) for p, o in found if p > query.get("continue", "")]
        page = rest[: min(int(query.get("limit", "500")), PAGE_MAX)]
        metadata = {"continue": page[-1][0]} if len(page) < len(rest) else {}
        return {"kind": f"{kind}List", "items": [o for _, o in page], "metadata": metadata}

    def _patch(self, path: str, change: Thing) -> Thing:
        now = self.objects[path]
        version = change.get("metadata", {}).get("resourceVersion")
        if version is not None and version != now["metadata"]["resourceVersion"]:
            raise Refused(409, "the object has been modified; please apply your changes again")
        return self.put(path, merged(now, change))

    def _delete(self, path: str, options: Thing) -> Thing:
        now = self.objects[path]
        check(options)
        wanted = options.get("preconditions", {}).get("uid")
        if wanted is not None and wanted != now["metadata"]["uid"]:
            raise Refused(409, f"the UID in the precondition ({wanted}) does not match")
        grace = options.get("gracePeriodSeconds", 30)
        if grace == 0 and not now["metadata"].get("finalizers"):
            return self.objects.pop(path)
        now["metadata"]["deletionTimestamp"] = "2026-11-25T20:00:00Z"
        now["metadata"]["deletionGracePeriodSeconds"] = grace
        return now


def merged(now: Any, change: Any) -> Any:
    """RFC 7386."""
    if not isinstance(change, dict):
        return change
    result: Thing = cast(Thing, {**now}) if isinstance(now, dict) else {}
    for key, value in change.items():  # pyright: ignore[reportUnknownVariableType]
        if value is None:
            result.pop(key, None)  # pyright: ignore[reportUnknownArgumentType]
        else:
            result[key] = merged(result.get(key), value)  # pyright: ignore[reportUnknownArgumentType]
    return result


def check(thing: Thing) -> None:
    """Against Kubernetes' own schema."""
    found = schemas.wrong(thing)
    if found:
        raise Refused(422, found)
