"""The border to the engine: what Python may rely on, whatever is behind it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from twofold import mirror_process

_mirror = pytest.importorskip("twofold._mirror", reason="the engine is not built: make setup")


def generation(current: str, base: str = "0", history: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "current": current,
        "base": base,
        "history": list(history),
        "role": "none",
        "clean": True,
        "sole": False,
        "sync_target": False,
        "outdated": False,
        "epoch": 1,
    }


ONE, TWO, THREE = (f"{number:016x}" for number in (1, 2, 3))


@pytest.mark.parametrize(
    ("mine", "theirs", "relation"),
    [
        (generation(ONE), generation(ONE), "equal"),
        (generation(TWO, ONE), generation(ONE), "mine_newer"),
        (generation(ONE), generation(THREE, TWO, (TWO, ONE)), "theirs_newer"),
        (generation("0"), generation(ONE), "mine_blank"),
        (generation(ONE), generation("0"), "theirs_blank"),
        (generation("0"), generation("0"), "both_blank"),
        (generation(TWO, ONE), generation(THREE, ONE), "diverged"),
        (generation(TWO), generation(THREE), "unrelated"),
    ],
)
def test_relations_have_the_words_of_the_interface(
    mine: dict[str, Any], theirs: dict[str, Any], relation: str
) -> None:
    assert _mirror.compare_generations(mine, theirs) == relation


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"current": 5}, "invalid type"),
        ({"current": "5"}, "not 16 hexadecimal digits"),
        ({"history": [ONE] * 11}, "`history` has 11 numbers"),
        ({"role": "king"}, "`role` is"),
        ({"surprise": 1}, "unknown field"),
    ],
)
def test_a_bad_generation_is_a_value_error_that_says_why(change: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=f"`theirs` is not valid: .*{why}"):
        _mirror.compare_generations(generation(ONE), generation(ONE) | change)


def test_engine_and_package_have_one_version() -> None:
    pyproject = Path(__file__).parents[2] / "pyproject.toml"
    assert f'version = "{_mirror.version()}"' in pyproject.read_text()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (None, "mirror.json cannot be read: No such file"),
        ("{", "mirror.json: EOF while parsing"),
        (json.dumps({"module": "files", "surprise": 1}), "mirror.json: unknown field `surprise`"),
    ],
)
def test_a_mistake_in_the_configuration_is_one_sentence_and_exit_2(
    tmp_path: Path, content: str | None, why: str
) -> None:
    config = tmp_path / "mirror.json"
    if content is not None:
        config.write_text(content)
    ended = subprocess.run(
        [sys.executable, "-m", mirror_process.__name__, "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert ended.returncode == 2, ended
    assert why in ended.stderr
    assert "Traceback" not in ended.stderr
