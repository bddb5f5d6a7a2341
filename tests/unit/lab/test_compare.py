"""compare_trees finds each kind of difference, and finds none where a copy cannot be more equal."""

from __future__ import annotations

import os
import shutil
import stat
from pathlib import Path

import pytest

from twofold.lab.compare import compare_trees


@pytest.fixture
def trees(tmp_path: Path) -> tuple[Path, Path]:
    left = tmp_path / "left"
    (left / "sub").mkdir(parents=True)
    (left / "file").write_bytes(b"abc" * 1000)
    (left / "sub" / "other").write_bytes(b"x")
    (left / "link").symlink_to("file")
    os.link(left / "file", left / "sub" / "hard")
    os.mkfifo(left / "fifo")
    with (left / "sparse").open("wb") as sparse:
        sparse.seek(3 << 20)
        sparse.write(b"end")
    os.setxattr(left / "file", "user.colour", b"green")
    right = tmp_path / "right"
    _copy(left, right)
    return left, right


def _copy(left: Path, right: Path) -> None:
    right.mkdir()
    for place, _, names in os.walk(left):
        target = right / Path(place).relative_to(left)
        target.mkdir(exist_ok=True)
        for name in names:
            source = Path(place) / name
            if stat.S_ISFIFO(source.lstat().st_mode):
                os.mkfifo(target / name)
            else:
                shutil.copy2(source, target / name, follow_symlinks=False)
    (right / "sub" / "hard").unlink()
    os.link(right / "file", right / "sub" / "hard")
    for path in [*sorted(left.rglob("*"), reverse=True), left]:
        times = (path.lstat().st_atime_ns, path.lstat().st_mtime_ns)
        os.utime(right / path.relative_to(left), ns=times, follow_symlinks=False)


def kinds(left: Path, right: Path) -> set[tuple[str, str]]:
    return {(found.path, found.what) for found in compare_trees(left, right).differences}


def test_a_copy_is_identical_even_when_its_holes_are_stored(trees: tuple[Path, Path]) -> None:
    left, right = trees
    before = (left / "sparse").stat().st_mtime_ns
    (right / "sparse").write_bytes(bytes(3 << 20) + b"end")
    os.utime(right / "sparse", ns=(before, before))
    assert (left / "sparse").stat().st_blocks < (right / "sparse").stat().st_blocks
    result = compare_trees(left, right)
    assert result.identical, [str(each) for each in result.differences]
    assert result.entries == 8


def test_content_is_compared_even_when_size_and_time_agree(trees: tuple[Path, Path]) -> None:
    left, right = trees
    before = (left / "file").stat().st_mtime_ns
    with (right / "file").open("r+b") as changed:
        changed.seek(2999)
        changed.write(b"?")
    os.utime(right / "file", ns=(before, before))
    assert kinds(left, right) == {("file", "content"), ("sub/hard", "content")}


def test_data_in_the_hole_of_the_other_is_seen(trees: tuple[Path, Path]) -> None:
    left, right = trees
    before = (left / "sparse").stat().st_mtime_ns
    with (right / "sparse").open("r+b") as changed:
        changed.seek(1 << 20)
        changed.write(b"!")
    os.utime(right / "sparse", ns=(before, before))
    (found,) = compare_trees(left, right).differences
    assert (found.what, found.left) == ("content", f"at {1 << 20}: " + "00" * 8)


def test_attributes_are_compared(trees: tuple[Path, Path]) -> None:
    left, right = trees
    (right / "sub" / "other").chmod(0o600)
    os.utime(right / "fifo", ns=(1, 1))
    os.setxattr(right / "file", "user.colour", b"red")
    found = kinds(left, right)
    assert ("sub/other", "mode") in found
    assert ("fifo", "mtime") in found
    assert ("file", "xattr") in found


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_is_compared(trees: tuple[Path, Path]) -> None:
    left, right = trees
    os.lchown(right / "link", 12, 34)
    assert kinds(left, right) == {("link", "owner")}


def test_missing_names_types_links_and_hard_links(trees: tuple[Path, Path]) -> None:
    left, right = trees
    (left / "only-here").touch()
    (right / "fifo").unlink()
    (right / "fifo").mkdir()
    (right / "link").unlink()
    (right / "link").symlink_to("elsewhere")
    (right / "sub" / "hard").unlink()
    shutil.copy2(right / "file", right / "sub" / "hard")
    found = kinds(left, right)
    assert ("only-here", "missing_right") in found
    assert ("fifo", "type") in found
    assert ("link", "link") in found
    assert ("file, sub/hard", "hardlinks") in found


def test_the_engines_own_directory_is_not_part_of_the_tree(trees: tuple[Path, Path]) -> None:
    left, right = trees
    times = (right.stat().st_atime_ns, right.stat().st_mtime_ns)
    (right / ".twofold-aside").mkdir()
    (right / ".twofold-aside" / "1").touch()
    os.utime(right, ns=times)
    assert compare_trees(left, right).identical
    (right / "sub" / ".twofold-aside").mkdir()
    assert ("sub/.twofold-aside", "missing_left") in kinds(left, right)


def test_names_may_have_any_byte(tmp_path: Path) -> None:
    for side in ("left", "right"):
        (tmp_path / side).mkdir()
        place = os.fsencode(tmp_path / side)
        Path(os.fsdecode(place + b"/\xff\n")).write_text(side)
        os.utime(place + b"/\xff\n", ns=(5, 5))
        os.utime(place, ns=(5, 5))
    differences = compare_trees(tmp_path / "left", tmp_path / "right").differences
    assert [each.what for each in differences] == ["size"]
