"""What a resync would look at, told beforehand; and what one then looks at is that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fs.engines import Pair, Refused
from tests.fs.test_doubt import comes_back, covered, goes_alone, last

MIB = 1 << 20


def fill(root: Path) -> None:
    (root / "folder" / "inner").mkdir(parents=True)
    (root / "folder" / "inner" / "large").write_bytes(b"l" * (20 * MIB))
    (root / "folder" / "small").write_bytes(b"s" * 1000)
    (root / "link").symlink_to("folder")


def estimate(pair: Pair) -> dict[str, Any]:
    found: dict[str, Any] = pair.a.command("estimate")["estimate"]
    return found


@pytest.mark.parametrize("pair", [{"dirty_map": False}], indirect=True)
def test_without_a_map_everything_is_counted(pair: Pair) -> None:
    fill(pair.a.tree)
    pair.start()
    (pair.a.raw / ".twofold-aside").mkdir()
    (pair.a.raw / ".twofold-aside" / "no part of it").write_bytes(b"x" * 100)
    found = estimate(pair)
    assert found.pop("why")
    assert found == {
        "looks_at": "everything",
        "names": 0,
        "files": 3,
        "bytes": 20 * MIB + 1000,
        "complete": True,
    }
    with pytest.raises(Refused) as refused:
        pair.b.command("estimate")
    assert refused.value.code == "not_primary"


@pytest.mark.parametrize("pair", [{"dirty_map": True}], indirect=True)
def test_what_is_in_doubt_is_what_is_looked_at(pair: Pair) -> None:
    fill(pair.a.tree)
    pair.start()
    pair.a.wait_until(lambda: covered(pair.a), 30)
    assert estimate(pair)["looks_at"] == "nothing"
    pair.b.stop()
    goes_alone(pair)
    with (pair.a.tree / "folder" / "inner" / "large").open("r+b") as file:
        file.seek(10 * MIB)
        file.write(b"changed")
    (pair.a.tree / "folder" / "fresh").write_bytes(b"f" * 500)
    found = estimate(pair)
    assert found["looks_at"] == "part"
    assert found["names"] == 1
    assert found["files"] == 2
    assert MIB <= found["bytes"] - 500 <= 8 * MIB, "some zones of the large one"
    comes_back(pair, pair.b)
    pair.in_sync(pair.a)
    assert last(pair.a)["only_doubt"]
    assert last(pair.a)["bytes_looked_at"] <= found["bytes"]
