"""The snapshot for somebody who helps: what is in it, and a button that downloads it."""

from __future__ import annotations

from nicegui import ui

from twofold.errors import TwofoldError
from twofold.web.collecting import check_free
from twofold.web.console.acting import button, refused
from twofold.web.console.frame import Frame
from twofold.web.guard import API

ABOUT = (
    "One file for somebody who helps you: from all nodes the configuration, the states, the last "
    "decisions, the logs, and facts of the machines. Passwords, keys and tokens are removed on the "
    "node that has them; REMOVED.txt in it says where. Your data is not in it. Look through it "
    "before you give it away: a password in the middle of a script may still be there."
)


def snapshot_panel(frame: Frame) -> None:
    def fetch() -> None:
        try:
            check_free(frame.services)
        except TwofoldError as e:
            refused(e)
            return
        ui.download.from_url(f"{API}/snapshot")
        ui.notify("Collecting. Your browser shows the file as it comes: seconds, with a silent "
                  "node up to minutes.", classes="tf-note good", position="bottom",
                  timeout=6000)  # fmt: skip

    with ui.element("section").classes("tf-panel"):
        ui.html(f"<h2>Get help</h2><p>{ABOUT}</p>", sanitize=False)
        with ui.element("div").classes("tf-row"):
            button("Download a snapshot", fetch)
