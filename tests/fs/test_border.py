"""Renames and links between names that stay on a node and names that are replicated."""

from __future__ import annotations

import errno
import os
import threading

import pytest

from tests.fs.compared import same
from tests.fs.engines import Pair
from tests.fs.test_exclusions import (
    EXCLUDE,
    OPTIONS,
    WITH_FAULTS,
    begin_again,
    names,
    with_exclusions,
    write,
)
from tests.fs.test_verify import found, verify

pytestmark = pytest.mark.timeout(120)


@with_exclusions
def test_a_rename_over_the_border(pair: Pair) -> None:
    pair.start()
    tree, copy = pair.a.tree, pair.b.raw
    write(tree / "data", "old")
    # As programs save: a new file beside, and over the old one.
    content = os.urandom(300_000)
    (tree / "data.tmp").write_bytes(content)
    (tree / "data.tmp").chmod(0o640)
    os.chown(tree / "data.tmp", 7, 8)
    os.setxattr(tree / "data.tmp", "user.x", b"1")
    (tree / "data.tmp").rename(tree / "data")
    assert (copy / "data").read_bytes() == content
    with (tree / "sparse.tmp").open("wb") as file:
        file.truncate(1 << 33)
        file.seek(1 << 32)
        file.write(b"far")
        (tree / "sparse.tmp").rename(tree / "sparse")
        file.write(b" and on")  # through the descriptor from before
    assert (copy / "sparse").stat().st_blocks < 100
    os.symlink("data", tree / "link.tmp")
    (tree / "link.tmp").rename(tree / "link")
    os.link(tree / "data", tree / "other.tmp")
    os.link(tree / "other.tmp", tree / "third")
    (tree / "other.tmp").rename(tree / "fourth")
    assert (copy / "data").stat().st_nlink == 3
    write(tree / "first.tmp", "linked")
    os.link(tree / "first.tmp", tree / "second")
    (tree / "first.tmp").unlink()
    same(pair)
    # And away: for the secondary that is a removal.
    with (tree / "second").open("a") as file:
        (tree / "second").rename(tree / "second.tmp")
        file.write(" and more")
    (tree / "third").rename(tree / "third.tmp")
    assert names(copy) == {"data", "sparse", "link", "fourth"}
    assert (tree / "second.tmp").read_text() == "linked and more"
    (tree / "second.tmp").rename(tree / "second")
    for path in ("second.tmp", "third.tmp"):
        (tree / path).unlink(missing_ok=True)
    same(pair)
    assert found(verify(pair)) == {}
    assert pair.a.status()["peer_up_to_date"]


@with_exclusions
def test_a_directory_cannot_be_moved_over_the_border(pair: Pair) -> None:
    (pair.a.tree / "logs").mkdir()
    pair.start()
    write(pair.b.raw / "logs" / "b.old", "b")
    tree = pair.a.tree
    for folder in ("d", "cache", "plain/deep"):
        (tree / folder).mkdir(parents=True)
    write(tree / "logs" / "a.old", "local")

    def refused(old: str, new: str) -> None:
        with pytest.raises(OSError) as error:
            os.rename(tree / old, tree / new)
        assert error.value.errno == errno.EXDEV, (old, new)

    refused("d", "d.tmp")
    refused("cache", "kept")
    write(tree / "other" / "x", "replicated")
    refused("logs", "history")  # what is local in it would be replicated there
    os.rename(tree / "plain", tree / "renamed")
    os.rename(tree / "cache", tree / "renamed.tmp")  # both stay here
    there = {"d", "logs", "logs/b.old", "renamed", "renamed/deep", "other", "other/x"}
    assert names(pair.b.raw) == there
    (tree / "logs" / "a.old").unlink()
    os.rename(tree / "logs", tree / "history")  # without what only the other node has in it
    write(tree / "history" / "a.old", "replicated")
    (tree / "renamed.tmp").rmdir()
    same(pair)


@with_exclusions
def test_files_with_names_on_both_sides(pair: Pair) -> None:
    tree, copy = pair.a.tree, pair.b.raw
    write(tree / "data", "old")
    write(tree / "x" / "first.tmp", "old")
    os.link(tree / "data", tree / "data.tmp")
    os.link(tree / "x" / "first.tmp", tree / "x" / "second.tmp")
    pair.start()
    begin_again(pair)
    # The engine has met none of the other names since its start.
    write(tree / "data.tmp", "new")
    write(tree / "x" / "first.tmp", "new")
    assert (copy / "data").read_text() == "new"
    assert names(copy) == {"data", "x"}
    # It loses its replicated name, is changed, and gets another one.
    (tree / "data").unlink()
    write(tree / "data.tmp", "newer")
    os.rename(tree / "data.tmp", tree / "again")
    os.link(tree / "again", tree / "again.tmp")
    os.rename(tree / "again", tree / "third.tmp")
    with (tree / "third.tmp").open("a") as file:
        file.write(" still")
    os.link(tree / "third.tmp", tree / "at last")
    for path in ("third.tmp", "again.tmp", "x/first.tmp", "x/second.tmp"):
        (tree / path).unlink()
    write(tree / "at last", "and the end")
    same(pair)
    assert pair.a.status()["peer_up_to_date"]
    assert pair.b.status()["counters"]["resyncs"] == 0
    assert "no known name" not in pair.a.log()


@pytest.mark.parametrize("pair", [WITH_FAULTS], indirect=True)
@pytest.mark.parametrize("reads", [1, 4])
def test_the_primary_dies_in_a_rename_over_the_border(pair: Pair, reads: int) -> None:
    pair.start()
    write(pair.a.tree / "data", "old")
    content = os.urandom(2_000_000)
    (pair.a.tree / "data.tmp").write_bytes(content)
    dies = {"effect": "read", "from": reads, "what": "kill"}
    pair.a.command("faults", plan=[dies])
    with pytest.raises(OSError):
        os.rename(pair.a.tree / "data.tmp", pair.a.tree / "data")
    pair.a.kill()
    pair.b.command("become_primary", epoch=pair.next_epoch(), alone=True)
    # As it was, and nothing beside it.
    assert names(pair.b.raw) == {"data"}
    assert (pair.b.tree / "data").read_text() == "old"
    write(pair.b.tree / "more", "b")
    pair.a.start()
    pair.a.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(pair.b)
    same(pair)


@pytest.mark.parametrize("pair", [WITH_FAULTS], indirect=True)
def test_the_second_dies_in_a_rename_over_the_border(pair: Pair) -> None:
    pair.start()
    write(pair.a.tree / "data", "old")
    content = os.urandom(2_000_000)
    (pair.a.tree / "data.tmp").write_bytes(content)
    dies = {"effect": "write", "from": 4, "what": "kill"}
    pair.b.command("faults", plan=[dies])
    saving = threading.Thread(
        target=os.rename, args=(pair.a.tree / "data.tmp", pair.a.tree / "data")
    )
    saving.start()
    assert pair.b.process is not None
    pair.b.process.wait(20)
    pair.b.kill()
    assert any(".twofold-new-" in name for name in names(pair.b.tree))
    pair.a.command("continue_alone", epoch=pair.next_epoch())
    saving.join(20)
    assert (pair.a.tree / "data").read_bytes() == content
    pair.b.start()
    pair.b.command("become_secondary", epoch=pair.epoch)
    pair.in_sync(pair.a)
    same(pair)
    assert names(pair.b.raw) == {"data"}


@with_exclusions
def test_attributes_come_over_the_border(pair: Pair) -> None:
    """Also where what is made in a directory gets an access list from it."""
    write(pair.a.tree / "d" / "x", "")
    entries = [(0x01, 7), (0x04, 5), (0x10, 7), (0x20, 0)]
    acl = (2).to_bytes(4, "little")
    for tag, bits in entries:
        acl += tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + b"\xff" * 4
    os.setxattr(pair.a.tree / "d", "system.posix_acl_default", acl)
    pair.start()
    write(pair.a.tree / "plain.tmp", "a")
    (pair.a.tree / "plain.tmp").chmod(0o604)
    write(pair.a.tree / "d" / "listed.tmp", "a")
    os.rename(pair.a.tree / "plain.tmp", pair.a.tree / "d" / "plain")
    os.rename(pair.a.tree / "d" / "listed.tmp", pair.a.tree / "listed")
    assert "system.posix_acl_access" in os.listxattr(pair.b.raw / "listed")
    assert "system.posix_acl_access" not in os.listxattr(pair.b.raw / "d" / "plain")
    same(pair)
    assert found(verify(pair)) == {}


@pytest.mark.parametrize("pair", [OPTIONS | {"exclude": [*EXCLUDE, ".*"]}], indirect=True)
def test_renames_over_the_border_during_a_resync(pair: Pair) -> None:
    for number in range(200):
        write(pair.a.tree / f"d{number % 20}" / f"f{number}", f"{number}" * 2000)
    pair.a.start()
    pair.b.start()
    pair.a.command("become_primary", epoch=pair.next_epoch(), alone=True, first=True)
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            folder = pair.a.tree / f"d{number * 7 % 20}"
            os.rename(folder, folder.with_name("moving"))
            os.rename(folder.with_name("moving"), folder)
            for path in sorted(folder.glob("f*"))[:3]:
                os.rename(path, path.with_suffix(".tmp"))
                with path.with_suffix(".tmp").open("a") as file:
                    file.write("!")
                os.rename(path.with_suffix(".tmp"), folder.parent / f"d{number % 20}" / path.name)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        pair.b.command("become_secondary", epoch=pair.epoch)
        pair.in_sync(pair.a)
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    same(pair)
    assert found(verify(pair)) == {}
