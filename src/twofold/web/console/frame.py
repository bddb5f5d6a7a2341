"""What every page has: the bar, who is logged in, what is wrong with this node, the live look.

`Frame.live(draw)` shows text that is made anew whenever the shared look has changed, and only then
is anything sent; `Frame.asked(ask)` shows what the nodes are asked for while the page is open. When
the session ends, the page goes to the login. When this node itself dies, the page says on which
addresses to go on: that list is in the page from the beginning.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from html import escape
from typing import Any

from fastapi import Request
from nicegui import ui

from twofold.errors import TwofoldError
from twofold.web.guard import SERVICES_KEY, who_of
from twofold.web.overview import consoles
from twofold.web.services import Services
from twofold.web.sessions import Who
from twofold.web.settings import PORT
from twofold.web.watch import Object
from twofold.wire.roles import rank

EVERY_S = 1.0
ASKING = '<p class="tf-quiet">Asking …</p>'
PAGES = (
    ("/", "Overview", "monitor"),
    ("/log", "Log", "monitor"),
    ("/configuration", "Configuration", "admin"),
    ("/cluster", "Cluster", "monitor"),
    ("/users", "Users", "monitor"),
)


class Frame:
    def __init__(self, request: Request, here: str, title: str) -> None:
        self.who: Who = who_of(request)
        self.services: Services = request.scope[SERVICES_KEY]
        self._drawings: list[tuple[ui.html, Callable[[], str], str]] = []
        self._held = self.services.watch.watching()
        self._held.__enter__()
        client = ui.context.client
        client.on_delete(lambda: self._held.__exit__(None, None, None))  # pyright: ignore[reportUnknownMemberType]
        ui.add_head_html(
            '<link rel="stylesheet" href="/static/twofold.css">'
            '<link rel="icon" href="/static/mark.svg"><script src="/static/theme.js"></script>'
        )
        ui.page_title(f"{title} · Twofold")
        self._draw_bar(here)
        self.live(self._alerts)
        ui.timer(EVERY_S, self._refresh)

    def may(self, role: str) -> bool:
        return rank(self.who.role) >= rank(role)

    def live(self, draw: Callable[[], str]) -> ui.html:
        """HTML that follows the shared look."""
        text = draw()
        shown = ui.html(text, sanitize=False)
        self._drawings.append((shown, draw, text))
        return shown

    def asked(self, ask: Callable[[], Awaitable[str]], every_s: float, first: str = ASKING) -> None:
        """HTML that the nodes are asked for: at once, and every `every_s` while the page is open.

        A node that does not answer is told at the top of the page; what was drawn before stays.
        """
        shown = ui.html(first, sanitize=False)

        async def look() -> None:
            try:
                text = await ask()
            except TwofoldError:
                return
            if text != shown.content:
                shown.set_content(text)

        ui.timer(0.05, look, once=True)
        ui.timer(every_s, look)

    async def records(self, command: str, part: str, **fields: Any) -> list[Object]:
        """The list `part` of each reachable node's answer, each record with its `node`."""
        nodes = [n.node for n in self.services.watch.now().nodes if n.reachable]
        answers = await self.services.ask_all(self.who, nodes, command, **fields)
        return [{**r, "node": a["node"]} for a in answers for r in a.get(part, ())]

    def _refresh(self) -> None:
        person = self.services.people.still(self.who)
        if person is None:
            ui.navigate.to("/login")
            return
        if person.role != self.who.role:
            ui.navigate.reload()
            return
        for i, (shown, draw, before) in enumerate(self._drawings):
            text = draw()
            if text != before:
                shown.set_content(text)
                self._drawings[i] = (shown, draw, text)

    # --- the bar ----------------------------------------------------------------------------------

    def _draw_bar(self, here: str) -> None:
        snapshot = self.services.watch.now()
        links = "".join(
            f'<a href="{path}"{" aria-current=page" if path == here else ""}>{text}</a>'
            for path, text, role in PAGES
            if self.may(role)
        )
        name = escape(str(snapshot.cluster.get("cluster") or "no cluster"))
        ui.html(
            '<div class="tf-top"><a class="tf-brand" href="/"><img src="/static/mark.svg" alt="">'
            f"<b>Twofold</b><span>{name}</span></a><nav>{links}</nav>"
            f'<div class="tf-me"><span class="tf-node" title="The node that shows this page">'
            f"{escape(snapshot.here)}</span>"
            '<button type="button" data-theme-button title="Dark or light">◐</button>'
            '<form method="post" action="/logout"><button type="submit" '
            f'title="Log out"><span class="tf-who">{escape(self.who.name)} '
            f"<i>{self.who.role}</i> · </span>Log out</button></form>"
            "</div></div>",
            sanitize=False,
        ).classes("tf-bar-holder")
        others = [
            {"node": n.node, "url": url}
            for n in snapshot.nodes
            if n.node != snapshot.here
            for url in consoles(snapshot.cluster, n.node, PORT)[:1]
        ]
        ui.add_body_html(
            f'<div id="tf-lost" role="alert" data-others="{escape(json.dumps(others))}" '
            f'data-here="{escape(snapshot.here)}"></div><script src="/static/lost.js"></script>'
        )

    def _alerts(self) -> str:
        snapshot = self.services.watch.now()
        texts: list[str] = []
        if snapshot.error is not None:
            error = snapshot.error
            texts.append(f"<b>{escape(str(error['text']))}.</b> {escape(str(error['mend']))}")
        for seen in snapshot.nodes:
            if not seen.reachable and seen.error is not None and snapshot.error is None:
                texts.append(
                    f"<b>Node {escape(seen.node)} does not answer.</b> "
                    f"{escape(str(seen.error.get('text', '')))}"
                )
        return "".join(f'<div class="tf-alert" role="alert">{t}</div>' for t in texts)
