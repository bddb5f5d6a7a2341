"""The API against its own description, with every role: no 5xx, nothing outside the schema.

Schemathesis draws requests from the schema, and wrong ones; status, headers and body of each answer
must be as described. Its short run is a part of `make test`;
`-m long` draws many more.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core import NotSet
from schemathesis.specs.openapi import checks

from tests.unit.web.site import ROLES, Site, site
from twofold.web.api.application import make_api
from twofold.web.guard import API
from twofold.wire.roles import NEEDED, rank

PHASES = (Phase.explicit, Phase.generate)
SLOW_IS_FINE = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
CHECKS: Any = checks
DESCRIBED = [
    CHECKS.content_type_conformance,
    CHECKS.response_headers_conformance,
    CHECKS.response_schema_conformance,
]
LESS = {"/events"}  # a stream does not end by itself


class Running:
    """A site in a thread with an event loop of its own; `call` runs one request in it."""

    def __init__(self, root: Path) -> None:
        self._loop = asyncio.new_event_loop()
        self._ending = asyncio.Event()
        self._ready = threading.Event()
        self.site: Site
        self._thread = threading.Thread(target=self._run, args=(root,), daemon=True)
        self._thread.start()
        assert self._ready.wait(20)

    def _run(self, root: Path) -> None:
        async def hold() -> None:
            async with site(root) as made:
                self.site = made
                self._ready.set()
                await self._ending.wait()

        self._loop.run_until_complete(hold())

    def call(self, role: str | None, **request: Any) -> Any:
        async def ask() -> Any:
            async with self.site.client(role) as client:
                return await client.request(**request)

        return asyncio.run_coroutine_threadsafe(ask(), self._loop).result(30)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(10)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Generator[Running]:
    made = Running(tmp_path_factory.mktemp("site"))
    yield made
    made.end()


def try_all(running: Running, role: str | None, examples: int) -> int:
    schema: Any = schemathesis.openapi.from_dict(make_api(running.site.services).openapi())
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path not in LESS:
            drawn = operation.as_strategy()
            settled = settings(
                max_examples=examples, phases=PHASES, deadline=None, database=None,
                suppress_health_check=SLOW_IS_FINE, derandomize=True,
            )  # fmt: skip
            settled(given(case=drawn)(_one(running, role)))()
            tried += 1
    return tried


def _one(running: Running, role: str | None) -> Callable[..., None]:
    def one(case: Any) -> None:
        done = len(running.site.daemon.done)
        path = API + case.formatted_path
        given = None if isinstance(case.body, NotSet) else case.body
        body: dict[str, Any] = {"json": given}
        if case.media_type == "application/octet-stream":
            body = {"content": given if isinstance(given, bytes) else str(given).encode()}
        drawn: dict[str, Any] = case.query or {}
        query = {k: v for k, v in drawn.items() if v is not None}
        answer = running.call(role, method=case.method, url=path, params=query, **body)
        assert answer.status_code < 500 or answer.status_code == 503, answer.text
        known = {str(code) for code in case.operation.definition.raw["responses"]}
        assert str(answer.status_code) in known | {"405"}, (case.method, path, answer.text)
        if answer.status_code != 405:
            case.validate_response(answer, checks=DESCRIBED)
        if answer.status_code >= 400:
            assert {"code", "text", "mend"} <= answer.json().keys()
        for _, command, asked in running.site.daemon.done[done:]:
            forced = command == "prim" and asked.get("force")
            wanted = "admin" if forced else NEEDED[command]
            oneself = asked.get("user") == role
            assert role is not None
            assert rank(role) >= rank(wanted) or oneself, f"{role} did {command}"

    return one


@pytest.mark.parametrize("role", [None, *ROLES])
def test_no_request_breaks_it_or_lends_a_right(running: Running, role: str | None) -> None:
    assert try_all(running, role, 8) > 20


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("role", [None, *ROLES])
def test_many_requests(running: Running, role: str | None) -> None:
    assert try_all(running, role, 400) > 20
