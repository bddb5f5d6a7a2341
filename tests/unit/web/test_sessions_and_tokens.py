"""Logging in: the cookie, the forged request, the guesser, the token that has ended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.unit.web.site import PASSWORD, Site, site
from twofold import passwords
from twofold.config.users import Users
from twofold.web.sessions import COOKIE, IDLE_S, WHOLE_S, Sessions
from twofold.web.throttle import KEPT_MAX, Throttle, network
from twofold.wire.roles import NotPermitted

LOGIN = {"name": "admin", "password": PASSWORD}
START = "/api/v1/modules/files/actions/start"


async def logged_in(client: httpx.AsyncClient) -> dict[str, str]:
    answer = await client.post("/api/v1/login", json=LOGIN)
    assert answer.status_code == 200, answer.text
    return {"x-csrf-token": answer.json()["csrf"]}


async def test_the_cookie_is_out_of_reach_for_scripts_and_other_sites(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client() as client:
        answer = await client.post("/api/v1/login", json=LOGIN)
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith(COOKIE.lower())
        assert all(w in cookie for w in ("httponly", "secure", "samesite=lax", "path=/"))
        assert "domain" not in cookie


async def test_a_cookie_alone_changes_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client() as client:
        csrf = await logged_in(client)
        assert (await client.get("/api/v1/me")).status_code == 200
        refused = await client.post(START, json={})
        assert (refused.status_code, refused.json()["code"]) == (403, "forged")
        elsewhere = {**csrf, "origin": "https://evil.example"}
        assert (await client.post(START, json={}, headers=elsewhere)).status_code == 403
        assert on.daemon.done == []
        ours = {**csrf, "origin": "https://node"}
        assert (await client.post(START, json={}, headers=ours)).status_code == 200


async def test_a_session_ends_with_logout_password_and_user(tmp_path: Path) -> None:
    async with site(tmp_path) as on:
        async with on.client() as client:
            csrf = await logged_in(client)
            assert (await client.post("/api/v1/logout", headers=csrf)).status_code == 200
            assert (await client.get("/api/v1/me")).status_code == 401
        async with on.client() as client:
            csrf = await logged_in(client)
            change = {"password": PASSWORD, "new_password": "another long one"}
            done = await client.put("/api/v1/me/password", json=change, headers=csrf)
            assert done.status_code == 200, done.text
            assert (await client.get("/api/v1/me")).status_code == 401


async def test_a_guesser_has_to_wait_and_learns_nothing(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client() as client:
        answers = [
            await client.post("/api/v1/login", json={"name": name, "password": "wrong"})
            for name in ("admin", "nobody", "admin", "nobody", "admin")
        ]
        assert {(a.status_code, a.text) for a in answers} == {(401, answers[0].text)}
        late = await client.post("/api/v1/login", json=LOGIN)
        assert (late.status_code, int(late.headers["retry-after"]) >= 1) == (429, True)
        assert on.services.people.failures == 5


async def test_a_token_is_not_for_pages_and_ends_when_removed(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client("control") as client:
        assert (await client.get("/api/v1/me")).json()["via"].startswith("token ")
        assert (await client.get("/")).status_code == 303
        metrics = await client.get("/metrics")
        assert 'twofold_module_serving{module="files",node="a"} 1.0' in metrics.text
        await removed(on, "control")
        assert (await client.get("/api/v1/me")).status_code == 401


async def removed(on: Site, name: str) -> None:
    async with on.client("admin") as admin:
        token = on.tokens[name].split("_")[1]
        answer = await admin.delete(f"/api/v1/users/{name}/tokens/{token}")
        assert answer.status_code == 200, answer.text


async def test_who_did_what_is_kept(tmp_path: Path) -> None:
    async with site(tmp_path) as on:
        async with on.client("control") as client:
            await client.post(START, json={})
        async with on.client("monitor") as client:
            await client.post(START, json={})  # refused before the daemon is asked
        async with on.client("admin") as client:
            records = (await client.get("/api/v1/audit")).json()["records"]
    found = [(r["who"], r["command"], r["module"], r["result"], r["source"]) for r in records]
    assert ("control", "start", "files", "accepted", "10.9.9.9") in found


async def test_what_would_stop_the_service_needs_its_name(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client("control") as client:
        on.daemon.silent.add("b")
        await on.services.watch.look_again()
        where = "/api/v1/modules/files/actions/stop"
        refused = await client.post(where, json={"node": "a"})
        assert (refused.status_code, refused.json()["code"]) == (409, "confirm_needed")
        assert "nobody serves it" in refused.json()["text"]
        done = await client.post(where, json={"node": "a", "confirm": "files"})
        assert done.status_code == 200


async def test_a_body_has_a_bound(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client("control") as client:
        answer = await client.post(START, content=b"x" * 1_100_000)
        assert answer.status_code == 413


def test_a_session_ends_by_itself() -> None:
    sessions, nobody = Sessions(), Users()
    cookie, _ = sessions.begin("x", "::1", 0.0)
    assert sessions.who(cookie, "::1", nobody, 1.0) is None, "the user is gone"
    for moment in (IDLE_S + 1, WHOLE_S + 1):
        cookie, session = sessions.begin("x", "::1", 0.0)
        session.used_s = moment - 1 if moment > WHOLE_S else 0.0
        assert sessions.who(cookie, "::1", nobody, moment) is None


def test_the_throttle_counts_networks_and_has_a_bound() -> None:
    throttle = Throttle()
    for _ in range(6):
        throttle.failed("2001:db8::1", "admin", 100.0)
    assert throttle.wait_s("2001:db8::ffff", "other", 100.0) > 0, "the same /64"
    assert throttle.wait_s("2001:db9::1", "admin", 100.0) == 0, "nobody is locked out by others"
    assert throttle.wait_s("2001:db8::1", "other", 2000.0) == 0, "forgotten"
    for _ in range(50):
        throttle.failed("10.0.0.1", "often", 100.0)
        throttle.succeeded("10.0.0.1", "often")
    assert throttle.wait_s("10.0.0.1", "often", 100.0) == 0, "a program that logs in each time"
    assert network("::ffff:10.0.0.1") == "10.0.0.1"
    for i in range(KEPT_MAX + 50):
        throttle.failed(f"10.{i >> 16}.{i >> 8 & 255}.{i & 255}", "x", 3000.0)
    assert throttle.wait_s("2001:db8::ffff", "other", 3000.0) == 0


async def test_tokens_of_oneself_are_made_with_the_password_only(tmp_path: Path) -> None:
    async with site(tmp_path) as on:
        async with on.client() as browser:
            said = {"name": "monitor", "password": PASSWORD}
            csrf = (await browser.post("/api/v1/login", json=said)).json()["csrf"]
            headers = {"x-csrf-token": csrf}
            made = await browser.post("/api/v1/me/tokens", json={"label": "x"}, headers=headers)
            assert made.status_code == 201, made.text
            listed = (await browser.get("/api/v1/me/tokens")).json()["tokens"]
            assert made.json()["id"] in [t["id"] for t in listed]
            assert "digest" not in listed[0]
            where = f"/api/v1/me/tokens/{made.json()['id']}"
            assert (await browser.delete(where, headers=headers)).status_code == 200
        async with on.client("admin") as program:
            refused = await program.post("/api/v1/me/tokens", json={"role": "admin"})
            assert (refused.status_code, refused.json()["code"]) == (409, "operator")


async def test_a_weak_token_of_a_strong_user_cannot_make_a_strong_one(tmp_path: Path) -> None:
    async with site(tmp_path) as on:
        new = passwords.new_token()
        weak: dict[str, Any] = {
            "token": new.id,
            "label": "",
            "digest": new.digest,
            "role": "monitor",
        }
        person = {"name": "admin", "from": "10.9.9.9", "via": "session", "token": None}
        await on.daemon.ask("token_add", user="admin", as_user=person, **weak)
        strong: dict[str, Any] = {**weak, "token": "0" * 8, "role": "admin"}
        with pytest.raises(NotPermitted, match="token_add needs admin"):
            await on.daemon.ask(
                "token_add", user="admin", as_user={**person, "token": new.id}, **strong
            )
