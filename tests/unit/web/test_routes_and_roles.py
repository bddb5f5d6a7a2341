"""Every route of the API, for every role: what the role may not do is refused, here and there.

The table is the specification. A route that is missing in it, or in the API, fails the test.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.unit.web.site import PASSWORD, ROLES, Site, site
from twofold.web.api.application import make_api

# (method, path, body) -> the least role; None: without login
PUBLIC = None
TABLE: dict[tuple[str, str], tuple[str | None, Any]] = {
    ("POST", "/login"): (PUBLIC, {"name": "monitor", "password": PASSWORD}),
    ("POST", "/logout"): ("monitor", None),
    ("GET", "/me"): ("monitor", None),
    ("PUT", "/me/password"): ("monitor", {"password": "x", "new_password": "a long new one"}),
    ("GET", "/me/tokens"): ("monitor", None),
    ("POST", "/me/tokens"): ("monitor", {"label": "x"}),
    ("DELETE", "/me/tokens/{identity}"): ("monitor", None),
    ("GET", "/users"): ("admin", None),
    ("POST", "/users"): ("admin", {"name": "new", "password": "quite a long one"}),
    ("PATCH", "/users/{name}"): ("admin", {"role": "control"}),
    ("DELETE", "/users/{name}"): ("admin", None),
    ("POST", "/users/{name}/tokens"): ("admin", {"label": "x"}),
    ("DELETE", "/users/{name}/tokens/{identity}"): ("admin", None),
    ("GET", "/audit"): ("admin", None),
    ("GET", "/modules"): ("monitor", None),
    ("GET", "/modules/{module}"): ("monitor", None),
    ("POST", "/modules/{module}/actions/{action}"): ("control", {"node": "b"}),
    ("GET", "/modules/{module}/why"): ("monitor", None),
    ("GET", "/modules/{module}/verify"): ("monitor", None),
    ("POST", "/modules/{module}/verify"): ("control", {}),
    ("DELETE", "/modules/{module}/verify"): ("control", None),
    ("GET", "/modules/{module}/estimate"): ("monitor", None),
    ("POST", "/modules/{module}/resync"): ("control", {"full": True}),
    ("GET", "/modules/{module}/rescues"): ("control", None),
    ("DELETE", "/modules/{module}/rescues/{node}/{rescue}"): ("admin", {"confirm": "files"}),
    ("GET", "/modules/{module}/files"): ("admin", None),
    ("POST", "/modules"): ("admin", {"module": "new", "library": "mariadb"}),
    ("DELETE", "/modules/{module}"): ("admin", {"confirm": "files"}),
    ("GET", "/modules/{module}/pack"): ("admin", None),
    ("POST", "/packs"): ("admin", None),
    ("GET", "/library"): ("monitor", None),
    ("GET", "/library/{name}"): ("monitor", None),
    ("GET", "/config/schema/{file}"): ("monitor", None),
    ("GET", "/config/targets/{target}"): ("admin", None),
    ("PUT", "/config/targets/{target}"): ("admin", {"set": {"a": "b"}, "base": "*"}),
    ("POST", "/config/targets/{target}/check"): ("admin", {}),
    ("GET", "/config/targets/{target}/history"): ("admin", None),
    ("POST", "/config/targets/{target}/diff"): ("admin", {}),
    ("POST", "/config/targets/{target}/rollback"): ("admin", {}),
    ("GET", "/cluster/arbitration"): ("monitor", None),
    ("GET", "/cluster"): ("monitor", None),
    ("GET", "/snapshot"): ("admin", None),
    ("GET", "/log"): ("monitor", None),
    ("GET", "/config/drift"): ("monitor", None),
    ("GET", "/events"): ("monitor", None),
}
NAMES = {
    "name": "monitor",
    "identity": "00000000",
    "module": "files",
    "target": "files",
    "file": "module",
    "action": "start",
    "node": "a",
    "rescue": "1",
}


async def called(on: Site, role: str | None, method: str, path: str, body: Any) -> int:
    async with on.client(role) as client:
        query = {"once": "true"} if path == "/events" else {}
        where = "/api/v1" + path.format(**NAMES)
        return (await client.request(method, where, json=body, params=query)).status_code


async def test_the_table_is_complete(tmp_path: Path) -> None:
    async with site(tmp_path) as on:
        paths: dict[str, Any] = make_api(on.services).openapi()["paths"]
    routes = {(m.upper(), path) for path, methods in paths.items() for m in methods}
    assert routes == TABLE.keys()


@pytest.mark.parametrize("method, path", TABLE, ids=lambda v: str(v))
async def test_a_route_is_for_its_role_and_those_above(
    tmp_path: Path, method: str, path: str
) -> None:
    least, body = TABLE[method, path]
    async with site(tmp_path) as on:
        for role in (None, *ROLES):
            done = len(on.daemon.done)
            status = await called(on, role, method, path, body)
            if least is None:
                assert status == 200
            elif role is None:
                assert (status, len(on.daemon.done)) == (401, done)
            elif ROLES.index(role) < ROLES.index(least):
                assert (status, len(on.daemon.done)) == (403, done), f"{role} got {status}"
            else:
                assert status not in (401, 403, 405) and status < 500, f"{role} got {status}"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"])
async def test_a_monitor_changes_nothing_by_any_method(tmp_path: Path, method: str) -> None:
    async with site(tmp_path) as on:
        for _, path in TABLE:
            await called(on, "monitor", method, path, TABLE.get((method, path), (None, {}))[1])
        assert on.daemon.done == []


async def test_even_a_route_that_forgets_its_role_lends_none(tmp_path: Path) -> None:
    """What a mistake in a route would ask: the daemon looks the person up by itself."""
    async with site(tmp_path) as on:
        asked: list[tuple[str, str, dict[str, Any]]] = [
            ("monitor", "stop", {"module": "files"}),
            ("control", "prim", {"module": "files", "force": True}),
            ("control", "user_add", {"user": "x", "role": "admin"}),
            ("admin", "cluster_leave", {}),
            ("nobody", "state", {}),
        ]
        for name, command, fields in asked:
            person = {"name": name, "from": "10.9.9.9", "via": "session", "token": None}
            with pytest.raises(Exception, match=r"needs|cannot be said|no user"):
                await on.daemon.ask(command, as_user=person, **fields)
        assert on.daemon.done == []


async def test_without_login_there_is_health_and_login_only(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client() as client:
        health = await client.get("/health/files")
        assert (health.status_code, health.text) == (200, "serving\n")
        assert (await client.get("/health/other")).status_code == 503
        for path in ("/metrics", "/api/v1/openapi.json", "/api/v1/none", "/api/v1/health/files"):
            assert (await client.get(path)).status_code == 401, path
        for path in ("/", "/module/files", "/anything", "/docs", "/_nicegui/x"):
            answer = await client.get(path)
            assert answer.status_code in (303, 401), path
            assert "files" not in answer.text
        assert (await client.get("/login")).status_code == 200


async def test_health_is_for_the_node_that_serves(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client() as client:
        on.daemon.states["a"] = on.daemon.states["a"] | {"state": "SECOND"}
        await on.services.watch.look_again()
        assert (await client.get("/health/files")).status_code == 503


async def test_a_body_that_is_no_text_is_invalid_as_one_that_is_no_json(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client("admin") as client:
        for body in (b'{"module": "\xff"}', b'{"module":'):
            headers = {"content-type": "application/json"}
            answer = await client.post("/api/v1/modules", content=body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
