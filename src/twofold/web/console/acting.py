"""Asking before acting: the consequence in a sentence, the command, and what was said to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from html import escape
from typing import Any

from nicegui import ui

from twofold.errors import TwofoldError
from twofold.web import confirm
from twofold.web.console.frame import Frame

TITLES = {
    "start": "Start",
    "stop": "Stop",
    "restart": "Restart",
    "swap": "Swap sides",
    "prim": "Make primary",
    "second": "Make secondary",
}


def button(text: str, act: Callable[[], Any], tone: str = "") -> ui.button:
    made = ui.button(text, on_click=act, color=None).props("flat no-caps no-wrap")
    return made.classes(f"tf-button {tone}")


async def module_action(
    frame: Frame, module: str, action: str, node: str, force: bool = False
) -> None:
    """Ask where it interrupts something; then do it on `node`."""
    snapshot = frame.services.watch.now()
    found = confirm.consequence(snapshot, module, action, node, force)
    title = f"{TITLES[action]}: {module} on {node}"
    if found.interrupts and not await asked(title, found.text, module if found.dangerous else ""):
        return
    fields: dict[str, Any] = {"force": True} if force else {}
    await said(
        lambda: frame.services.act(frame.who, action, node=node, module=module, **fields),
        f"{TITLES[action]} on {node}: accepted.",
    )


async def asked(title: str, text: str, type_this: str = "", yes: str = "Do it") -> bool:
    """True when it was confirmed; `type_this` has to be typed for what cannot be undone."""
    with ui.dialog() as dialog, ui.element("div").classes("tf-dialog"):
        ui.html(f"<h2>{escape(title)}</h2><p>{escape(text)}</p>", sanitize=False)
        typed = None
        if type_this:
            typed = ui.input(f"Type {type_this} to confirm").props("outlined dense autofocus")
        with ui.element("div").classes("tf-row end"):
            button("Cancel", lambda: dialog.submit(False))
            go = button(yes, lambda: dialog.submit(True), "danger" if type_this else "primary")
            if typed is not None:
                go.bind_enabled_from(typed, "value", lambda v: v == type_this)
    answer = await dialog
    dialog.delete()
    return bool(answer)


async def said(act: Callable[[], Awaitable[Any]], done: str) -> Any:
    """The answer; None when it was refused, and the refusal is shown with its mend."""
    try:
        answer = await act()
    except TwofoldError as e:
        refused(e)
        return None
    if done:
        ui.notify(done, classes="tf-note good", position="bottom", timeout=3000)
    return answer


def refused(error: TwofoldError) -> None:
    sentence = (error.sentence or str(error)).rstrip(".")
    sentence = sentence[:1].upper() + sentence[1:] + "."
    ui.notify(f"{sentence} {error.mend}".strip(), classes="tf-note bad", timeout=9000,
              close_button="Close", position="bottom", multi_line=True)  # fmt: skip
