"""The pages become part of the application: once in a process, because NiceGUI's are global."""

from __future__ import annotations

from fastapi import FastAPI
from nicegui import ui

from twofold.web.console import (
    cluster_page,
    configuration_page,
    library_page,
    pages,
    users_page,
)

PAGES = (
    pages,
    configuration_page,
    library_page,
    cluster_page,
    users_page,
)  # importing them registers them


def add_console(app: FastAPI) -> None:
    ui.run_with(  # pyright: ignore[reportUnknownMemberType]
        app,
        title="Twofold",
        dark=None,
        tailwind=False,
        reconnect_timeout=20.0,
        show_welcome_message=False,
        message_history_length=100,
    )
