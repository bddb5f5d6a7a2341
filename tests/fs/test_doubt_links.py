"""Files with several names, of which a resync of a part looks at some."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair
from tests.fs.test_doubt import comes_back, covered, goes_alone

pytestmark = pytest.mark.parametrize("pair", [{"dirty_map": True}], indirect=True)


def begin(pair: Pair) -> Path:
    """Two files with two names each, and a directory in which names have changed already."""
    root = pair.a.tree
    for folder in ("one", "other", "busy"):
        (root / folder).mkdir()
    for name in ("first", "second"):
        (root / "one" / name).write_bytes(name.encode() * 1000)
        os.link(root / "one" / name, root / "other" / name)
    (root / "one" / "alone").write_bytes(b"with one name")
    pair.start()
    pair.a.wait_until(lambda: covered(pair.a), 30)
    return root


def took_over(pair: Pair) -> None:
    pair.b.wait_status(link="down")
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)


def test_a_name_that_is_another_files_over_there(pair: Pair) -> None:
    """On one node a name is one more of a file that is not looked at, on the other a new file."""
    root = begin(pair)
    pair.b.kill()
    goes_alone(pair)
    os.link(root / "one" / "alone", root / "busy" / "name")
    pair.a.kill()
    pair.b.start()
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True, force=True)
    (pair.b.tree / "busy" / "name").write_bytes(b"something else")
    comes_back(pair, pair.a)
    pair.in_sync(pair.b)
    same(pair)


def test_names_below_a_directory_that_is_in_doubt(pair: Pair) -> None:
    """After a crash a directory in which many names changed is looked at whole."""
    root = begin(pair)
    for number in range(8):
        (root / "busy" / f"file {number}").write_bytes(b"new")
    (root / "other" / "first").rename(root / "busy" / "first")
    os.link(root / "one" / "second", root / "busy" / "third")
    pair.a.kill()
    took_over(pair)
    comes_back(pair, pair.a)
    pair.in_sync(pair.b)
    same(pair)


def loses_the_last_write(pair: Pair, path: Path, before: bytes) -> None:
    """As a loss of power does: the other node has what this one's disk never got."""
    pair.a.kill()
    path.write_bytes(before)
    took_over(pair)


def test_a_name_that_is_not_known_when_the_known_one_goes(pair: Pair) -> None:
    root = begin(pair)
    before = (root / "other" / "first").read_bytes()
    (root / "other" / "first").write_bytes(b"acknowledged" * 100)
    loses_the_last_write(pair, root / "other" / "first", before)
    (pair.b.tree / "other" / "first").unlink()
    comes_back(pair, pair.a)
    pair.in_sync(pair.b)
    same(pair)


def test_a_name_that_is_not_known_when_the_known_one_is_in_doubt(pair: Pair) -> None:
    root = begin(pair)
    before = (root / "other" / "first").read_bytes()
    (root / "other" / "first").rename(root / "other" / "moved")
    (root / "other" / "moved").write_bytes(b"acknowledged" * 100)
    loses_the_last_write(pair, root / "other" / "moved", before)
    (pair.b.tree / "other" / "moved").unlink()
    comes_back(pair, pair.a)
    pair.in_sync(pair.b)
    same(pair)


def test_a_name_that_another_file_had_and_one_with_other_names_has_over_there(pair: Pair) -> None:
    """A power cut of both: the link is on the second's disk and not on the primary's. What stands
    at the name over there must not be taken for the file that was there before."""
    root = begin(pair)
    (root / "one" / "alone").rename(root / "busy" / "moved")
    os.link(root / "one" / "first", root / "one" / "alone")
    pair.a.kill()
    pair.b.kill()
    (root / "one" / "alone").unlink()
    pair.a.start()
    pair.b.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=False)
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(pair.a)
    same(pair)


@pytest.mark.long
@pytest.mark.timeout(120)
def test_a_directory_with_such_files_gets_another_name(pair: Pair) -> None:
    root = begin(pair)
    pair.b.kill()
    goes_alone(pair)
    (root / "new").mkdir()
    (root / "other" / "first").rename(root / "new" / "first")
    (root / "other").rename(root / "moved")
    comes_back(pair, pair.b)
    pair.in_sync(pair.a)
    same(pair)
