"""A module's directory is the old or the new one, never half of one, and can be put back."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.config.load import module_names
from twofold.daemon.modules_on_disk import remove_module, restore_module, write_module
from twofold.errors import ConfigError

ONE = {"module.toml": (0o644, b"# one\n"), "scripts/start": (0o755, b"#!/bin/sh\n")}
TWO = {"module.toml": (0o644, b"# two\n")}


def content(etc: Path) -> str:
    return (etc / "modules" / "files" / "module.toml").read_text()


def test_written_replaced_and_put_back(tmp_path: Path) -> None:
    write_module(tmp_path, "files", ONE)
    assert (tmp_path / "modules" / "files" / "scripts" / "start").stat().st_mode & 0o777 == 0o755
    write_module(tmp_path, "files", TWO)
    assert content(tmp_path) == "# two\n"
    assert not (tmp_path / "modules" / "files" / "scripts").exists()
    restore_module(tmp_path, "files")
    assert content(tmp_path) == "# one\n"
    assert module_names(tmp_path) == ("files",)


def test_removed_and_put_back(tmp_path: Path) -> None:
    write_module(tmp_path, "files", ONE)
    remove_module(tmp_path, "files")
    assert module_names(tmp_path) == ()
    restore_module(tmp_path, "files")
    assert content(tmp_path) == "# one\n"


def test_a_new_one_is_put_back_to_nothing(tmp_path: Path) -> None:
    write_module(tmp_path, "files", ONE)
    restore_module(tmp_path, "files")
    assert module_names(tmp_path) == ()


def test_what_an_interrupted_write_left_is_no_hindrance(tmp_path: Path) -> None:
    for what in ("new", "old"):
        (tmp_path / "modules" / f".{what}-files").mkdir(parents=True)
        (tmp_path / "modules" / f".{what}-files" / "x").touch()
    write_module(tmp_path, "files", ONE)
    write_module(tmp_path, "files", TWO)
    assert content(tmp_path) == "# two\n"
    assert module_names(tmp_path) == ("files",)


@pytest.mark.parametrize("name", ["..", "a/b", ".x", ""])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError):
        write_module(tmp_path, name, ONE)
    assert not list(tmp_path.iterdir())
