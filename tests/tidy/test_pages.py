"""The pages: links lead somewhere, decisions are numbered, generated pages are fresh."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def tracked() -> list[Path]:
    out = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        timeout=30,
    ).stdout
    return sorted(p for n in out.decode().split("\0") if n and (p := ROOT / n).is_file())


PAGES = [p for p in tracked() if p.suffix == ".md"]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    heads = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in heads}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    for target in LINK.findall(text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{name(page)}: the link {target} leads nowhere"
        if anchor and found.suffix == ".md":
            assert anchor in anchors(found), f"{name(page)}: {target} has no such heading"


def test_every_page_of_docs_is_reachable_from_the_index() -> None:
    reached: set[Path] = set()
    todo = [ROOT / "docs" / "index.md"]
    while todo:
        page = todo.pop()
        if page in reached or not page.exists():
            continue
        reached.add(page)
        for target in LINK.findall(page.read_text()):
            path = target.partition("#")[0]
            if path and not re.match(r"[a-z]+:", path):
                found = (page.parent / path).resolve()
                todo += sorted(found.glob("*.md")) if found.is_dir() else [found]
    lost = [name(p) for p in PAGES if (ROOT / "docs") in p.parents and p not in reached]
    assert not lost, f"no way leads from docs/index.md to {lost}"


def test_decisions_are_numbered_without_gaps() -> None:
    pages = sorted(p.name for p in (ROOT / "docs" / "decisions").glob("*.md"))
    wanted = [f"{n:04}" for n in range(1, len(pages) + 1)]
    assert [p[:4] for p in pages] == wanted, f"docs/decisions: {pages}"
    assert all(re.fullmatch(r"\d{4}(-[a-z0-9]+)+\.md", p) for p in pages), pages
