"""A file in doubt that a crash left at a name by which it was not noted: the name is in doubt."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair
from tests.fs.test_doubt import comes_back, covered, goes_alone, last
from tests.fs.test_doubt_links import took_over

pytestmark = pytest.mark.parametrize("pair", [{"dirty_map": True}], indirect=True)

NEW = b"new"


def begin(pair: Pair) -> Path:
    folder = pair.a.tree / "folder"
    folder.mkdir()
    (folder / "file").write_bytes(b"old" * 1000)
    (pair.a.tree / "untouched").write_bytes(b"." * 100_000)
    pair.start()
    settled(pair)
    return folder


def settled(pair: Pair) -> None:
    pair.a.wait_until(lambda: covered(pair.a), 30)


def write(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(NEW)


def looks_at_a_part(pair: Pair) -> None:
    took_over(pair)
    comes_back(pair, pair.a)
    pair.in_sync(pair.b)
    assert last(pair.b)["only_doubt"], f"{pair.a.log()}\n{pair.b.log()}"
    same(pair)


def test_a_name_that_was_in_the_map_before(pair: Pair) -> None:
    """Then a rename to it writes nothing, not even that the file is there now."""
    folder = begin(pair)
    (folder / "file").rename(folder / "other")
    (folder / "other").rename(folder / "file")
    write(folder / "file")
    settled(pair)
    (folder / "file").rename(folder / "other")
    pair.a.kill()
    looks_at_a_part(pair)


def test_a_rename_that_the_disk_has_lost(pair: Pair) -> None:
    folder = begin(pair)
    (folder / "file").rename(folder / "other")
    write(folder / "other")
    pair.a.kill()
    (folder / "other").rename(folder / "file")
    looks_at_a_part(pair)


def test_below_a_directory_in_doubt(pair: Pair) -> None:
    folder = begin(pair)
    write(folder / "file")
    settled(pair)
    (folder / "new").mkdir()
    (folder / "file").rename(folder / "new" / "file")
    pair.a.kill()
    looks_at_a_part(pair)


def test_a_name_of_before_the_restart(pair: Pair) -> None:
    """What a log says of the places of files that are not in doubt is not all there is to know."""
    folder = begin(pair)
    fresh = pair.a.tree / "fresh"
    fresh.write_bytes(b"made and given another name")
    fresh.rename(folder / "fresh")
    (folder / "fresh").rename(folder / "file")
    pair.b.kill()
    goes_alone(pair)
    pair.a.kill()
    pair.a.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True)
    comes_back(pair, pair.b)
    pair.in_sync(pair.a)
    settled(pair)
    write(folder / "file")
    pair.b.kill()
    goes_alone(pair)
    comes_back(pair, pair.b)
    pair.in_sync(pair.a)
    assert last(pair.a)["only_doubt"], f"{pair.a.log()}\n{pair.b.log()}"
    same(pair)


def test_one_of_several_names_goes(pair: Pair) -> None:
    folder = begin(pair)
    for number in range(6):
        os.link(folder / "file", folder / f"link{number}")
    settled(pair)
    write(folder / "file")
    for name in ("file", *(f"link{number}" for number in range(5))):
        (folder / name).unlink()
    settled(pair)
    write(folder / "link5")
    pair.b.kill()
    goes_alone(pair)
    comes_back(pair, pair.b)
    pair.in_sync(pair.a)
    assert last(pair.a)["only_doubt"], f"{pair.a.log()}\n{pair.b.log()}"
    same(pair)
