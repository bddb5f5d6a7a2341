"""A small client of the Kubernetes API: read, patch, delete, each within a bound.

A request that the server answers with "not now" (429, 5xx, no answer) is repeated after a pause
until the deadline of the whole is over; one that is wrong is not. Repeating is safe because every
change we make is idempotent: a patch carries the version that it was made for, a deletion the
identity of what is deleted. 404 and 409 are answers, not errors of the machine.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from types import TracebackType
from typing import Any

import httpx

from twofold.errors import MachineError, OperatorError
from twofold.k3s.kubeconfig import Access

Thing = dict[str, Any]
REQUEST_BOUND_S = 5.0
PAUSE_S, PAUSE_MAX_S = 0.2, 2.0
PAGE = 200
OK, TOO_MANY, INTERNAL_ERROR = 200, 429, 500
INTERNAL_ERRORS = 3  # at one request: a webhook that died with its node answers like this for ever
_MERGE = {"content-type": "application/merge-patch+json"}


class ApiSilent(MachineError):
    """No useful answer before the deadline."""

    code = "kubernetes_silent"


class ApiRefused(OperatorError):
    """The server understood and said no: `status` is HTTP's."""

    code = "kubernetes_refused"

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class NotThere(ApiRefused):
    pass


class Conflict(ApiRefused):
    """What was to be changed has changed meanwhile."""


class KubernetesApi:
    """`with KubernetesApi(access, deadline_s=60) as api: ...`: the deadline is for all of it."""

    def __init__(
        self,
        access: Access,
        deadline_s: float,
        request_bound_s: float = REQUEST_BOUND_S,
        now_s: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._now_s, self._sleep = now_s, sleep
        self._until_s = now_s() + deadline_s
        self._bound_s = request_bound_s
        headers = {"authorization": f"Bearer {access.token}"} if access.token else {}
        self._http = httpx.Client(
            base_url=access.server, verify=_tls(access), headers=headers, trust_env=False
        )

    def __enter__(self) -> KubernetesApi:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._http.close()

    def get(self, path: str, **query: str) -> Thing:
        return self._ask("GET", path, query=query)

    def items(self, path: str, **query: str) -> Iterator[Thing]:
        """Every object of a list, page by page."""
        following = ""
        while True:
            more = {"continue": following} if following else {}
            page = self.get(path, limit=str(PAGE), **query, **more)
            yield from page.get("items", [])
            following = page.get("metadata", {}).get("continue", "")
            if not following:
                return

    def patch(self, path: str, change: Mapping[str, Any]) -> Thing:
        """A JSON merge patch; with metadata.resourceVersion in it, refused when outdated."""
        return self._ask("PATCH", path, body=change)

    def delete(self, path: str, options: Mapping[str, Any]) -> None:
        self._ask("DELETE", path, body=options)

    def ready(self) -> bool:
        """One question, not repeated."""
        try:
            answer = self._http.get("/readyz", timeout=min(self._bound_s, self._left_s()))
        except httpx.HTTPError:
            return False
        return answer.status_code == OK

    def _left_s(self) -> float:
        return max(0.05, self._until_s - self._now_s())

    def _ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
    ) -> Thing:
        pause_s, last, internal = PAUSE_S, "no answer", 0
        while True:
            wait_s = pause_s
            try:
                answer = self._http.request(
                    method,
                    path,
                    params=dict(query or {}),
                    json=body,
                    headers=_MERGE if method == "PATCH" else None,
                    timeout=min(self._bound_s, self._left_s()),
                )
                if answer.status_code != TOO_MANY and answer.status_code < 500:
                    return _understood(method, path, answer)
                last = f"{answer.status_code} {_message(answer)}"
                internal += answer.status_code == INTERNAL_ERROR
                if internal >= INTERNAL_ERRORS:
                    raise _refusal(method, path, answer)
                with contextlib.suppress(ValueError):
                    wait_s = max(wait_s, float(answer.headers.get("retry-after", "0")))
            except httpx.HTTPError as e:
                last = str(e) or type(e).__name__
            if self._now_s() + wait_s >= self._until_s:
                raise ApiSilent(f"Kubernetes did not do {method} {path} in time ({last})")
            self._sleep(wait_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)


def _understood(method: str, path: str, answer: httpx.Response) -> Thing:
    if answer.status_code < 400:
        try:
            body: Any = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ApiSilent(f"the answer to {method} {path} is no object of Kubernetes")
        return body  # pyright: ignore[reportUnknownVariableType]
    raise _refusal(method, path, answer)


def _refusal(method: str, path: str, answer: httpx.Response) -> ApiRefused:
    kinds = {404: NotThere, 409: Conflict}
    text = f"Kubernetes refused {method} {path}: {answer.status_code} {_message(answer)}"
    return kinds.get(answer.status_code, ApiRefused)(answer.status_code, text)


def _message(answer: httpx.Response) -> str:
    with contextlib.suppress(ValueError, AttributeError):
        return str(answer.json().get("message", ""))[:300]
    return answer.text[:300]


def _tls(access: Access) -> ssl.SSLContext | bool:
    if not access.server.startswith("https:"):
        return False
    ca = access.ca.decode() if access.ca else None
    context = ssl.create_default_context(cadata=ca)
    if access.cert and access.key:
        # OpenSSL reads them from files only; these never touch a disk.
        with _in_memory(access.cert) as cert, _in_memory(access.key) as key:
            context.load_cert_chain(cert, key)
    return context


@contextlib.contextmanager
def _in_memory(data: bytes) -> Generator[str]:
    descriptor = os.memfd_create("twofold", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, data)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)
