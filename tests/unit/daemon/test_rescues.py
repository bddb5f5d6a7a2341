"""Commands about rescues: what is refused before anything is touched."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from twofold.adapters.rescues import Rescues
from twofold.daemon.rescues import NAMES_MAX, asked
from twofold.errors import CommandRefused

NAME = "20240301T000000Z-00000000000000ff"


class Port:
    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    async def list(self) -> Sequence[Mapping[str, Any]]:
        return [{"id": NAME}]

    async def show(self, rescue: str, limit: int) -> Mapping[str, Any]:
        self.calls.append(("show", rescue, limit))
        return {}

    async def extract(self, rescue: str, into: str, with_current: bool) -> Mapping[str, Any]:
        self.calls.append(("extract", rescue, into, with_current))
        return {}

    async def delete(self, rescue: str) -> Mapping[str, Any]:
        self.calls.append(("delete", rescue))
        return {"id": rescue}


def ask(port: Port | None, status: Mapping[str, Any] | None = None, **body: Any) -> dict[str, Any]:
    return asyncio.run(asked(port, status, {"module": "files", **body}))


def test_each_command_reaches_the_port() -> None:
    port = Port()
    assert ask(port, command="rescue_list")["rescues"] == [{"id": NAME}]
    ask(port, command="rescue_show", rescue=NAME, limit=10**9)
    ask(port, command="rescue_extract", rescue=NAME, into="/new", with_current=True)
    ask(port, command="rescue_delete", rescue=NAME)
    assert port.calls == [
        ("show", NAME, NAMES_MAX),
        ("extract", NAME, "/new", True),
        ("delete", NAME),
    ]


def test_one_that_is_being_filled_is_not_deleted() -> None:
    port = Port()
    with pytest.raises(CommandRefused, match="is being filled"):
        ask(port, {"rescue": {"id": NAME, "kept": 1}}, command="rescue_delete", rescue=NAME)
    ask(port, {"rescue": {"id": NAME, "kept": 1}}, command="rescue_show", rescue=NAME)
    assert [call[0] for call in port.calls] == ["show"]


@pytest.mark.parametrize("wrong", [None, "", 7, "a\0b"])
def test_a_missing_name_or_place_is_refused(wrong: object) -> None:
    port = Port()
    with pytest.raises(CommandRefused, match="rescue is missing"):
        ask(port, command="rescue_show", rescue=wrong)
    with pytest.raises(CommandRefused, match="into is missing"):
        ask(port, command="rescue_extract", rescue=NAME, into=wrong)
    assert not port.calls


def test_a_module_without_directories_has_none() -> None:
    with pytest.raises(CommandRefused, match="no replicated directories"):
        ask(None, command="rescue_list")


def test_the_process_answers_and_refuses(tmp_path: Path) -> None:
    rescues = Rescues(tmp_path)
    assert asyncio.run(rescues.list()) == []
    with pytest.raises(CommandRefused, match="there is no rescue"):
        asyncio.run(rescues.show(NAME, 10))
    with pytest.raises(CommandRefused, match="there is no rescue"):
        asyncio.run(rescues.delete("../.."))
    assert tmp_path.is_dir()
