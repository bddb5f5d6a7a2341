"""Applications as a user runs them: on the mount the same result as on a bare directory, both
copies identical, and after the death of the primary the other node's application has every
transaction that was acknowledged."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fs.applications import databases, tools
from tests.fs.applications.databases import Database
from tests.fs.compared import same
from tests.fs.engines import Engine, Pair

pytestmark = pytest.mark.timeout(120)

DATABASES: list[type[Database]] = [databases.Sqlite, databases.Postgres, databases.MariaDB]


def needed(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None and not Path(program).exists():
            pytest.skip(f"{program} is not installed: scripts/setup.sh test brings it")


@pytest.mark.parametrize("work", tools.WORKS, ids=lambda work: work.__name__)
def test_a_tool_does_the_same_as_on_a_bare_directory(
    pair: Pair, work: Callable[[Path, Path], object]
) -> None:
    needed("git", "dd", "tar")
    pair.start()
    material = pair.home / "material"
    tools.prepare(material)
    bare = pair.home / "bare"
    bare.mkdir()
    expected = work(material, bare)
    assert work(material, pair.a.tree) == expected
    same(pair)


@pytest.mark.parametrize("kind", DATABASES)
def test_a_database_does_the_same_as_on_a_bare_directory(pair: Pair, kind: type[Database]) -> None:
    needed(*kind.programs)
    pair.start()
    bare = pair.home / "bare"
    bare.mkdir()
    told: list[object] = []
    for place in (bare, pair.a.tree):
        with kind(place) as database:
            database.prepare()
            database.start()
            told.append(database.work())
            database.stop()
    assert told[1] == told[0]
    same(pair)


def taken_over(pair: Pair) -> Engine:
    pair.a.kill()
    pair.b.wait_status(link="down")
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    return pair.b


@pytest.mark.parametrize("pair", [{}, {"sync": "fsync"}], ids=["write", "fsync"], indirect=True)
@pytest.mark.parametrize("kind", DATABASES)
def test_a_database_has_every_acknowledged_transaction_after_a_take_over(
    pair: Pair, kind: type[Database]
) -> None:
    needed(*kind.programs)
    pair.start()
    with kind(pair.a.tree) as database:
        database.prepare()
        database.start()
        with database.writing() as acknowledged:
            database.wait_for(acknowledged, 50)
            other = taken_over(pair)
        database.kill()
    with kind(other.tree) as successor:
        successor.start()
        present = successor.numbers()
        assert set(acknowledged) - present == set(), "acknowledged transactions are missing"
        # At most the one under way is there without having been acknowledged.
        assert len(present) <= len(acknowledged) + 1
        successor.check()
        successor.stop()
    pair.a.start()
    pair.a.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(other)
    same(pair)
