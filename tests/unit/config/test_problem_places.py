"""The places of problems are those in the file that a person wrote, whatever was added to it."""

from __future__ import annotations

import pytest

from twofold.config import render
from twofold.config.problem import as_written

WRITTEN = """\
[module]
description = "x"

[variables]
directory = "/srv/x"

[replication]
directories = ["/"]
"""
DIRECTORIES = "modules/m/module.toml line {}, column 15: directory '/' is the whole system"


def line_of(text: str, beginning: str) -> int:
    return next(n for n, line in enumerate(text.splitlines(), 1) if line.startswith(beginning))


@pytest.mark.parametrize("with_port", [False, True])
@pytest.mark.parametrize("with_nodes", [False, True])
@pytest.mark.parametrize("with_table", [False, True])
def test_a_problem_is_where_the_person_wrote_it(
    with_port: bool, with_nodes: bool, with_table: bool
) -> None:
    written = WRITTEN if with_table else WRITTEN.partition("\n\n")[2]
    completed = render.set_variables(written, {"directory": "/srv/other"})
    if with_nodes:
        completed = render.set_nodes(completed, ["a", "b"])
    if with_port:
        completed = render.set_port(completed, 9100)
    found = DIRECTORIES.format(line_of(completed, "directories"))
    wanted = DIRECTORIES.format(line_of(written, "directories"))
    assert as_written(found, written, completed) == wanted


def test_what_was_set_is_where_it_stood() -> None:
    completed = render.set_port(render.set_variables(WRITTEN, {"directory": "/nowhere"}), 9100)
    sentence = "module.toml line 5, column 1: it is not there"
    assert as_written(sentence, WRITTEN, completed) == sentence


def test_what_the_person_did_not_write_has_no_line() -> None:
    completed = render.set_nodes(WRITTEN, ["a", "a"])
    line = line_of(completed, "nodes")
    sentence = f"modules/m/module.toml line {line}, column 15: node 'a' is there twice"
    wanted = "modules/m/module.toml: node 'a' is there twice"
    assert as_written(sentence, WRITTEN, completed) == wanted


def test_each_of_several_lines_and_other_files() -> None:
    completed = render.set_nodes(WRITTEN, ["a"])
    text = "module.toml line 9, column 1: one\ncluster.toml line 9, column 1: other"
    wanted = "module.toml line 8, column 1: one\ncluster.toml line 9, column 1: other"
    assert as_written(text, WRITTEN, completed) == wanted
