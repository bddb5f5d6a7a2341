"""What holds for the repository as a whole: no host names of registries, one version, one lock."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Put together from halves, so that this file does not contain what it forbids.
REGISTRY_HOSTS = [
    a + b
    for a, b in (
        ("pypi", ".org"),
        ("files.python", "hosted.org"),
        ("crates", ".io/api"),
        ("static.crates", ".io"),
        ("index.crates", ".io"),
        ("registry.npm", "js.org"),
        ("proxy.golang", ".org"),
        ("deb.debian", ".org"),
        ("repo.maven", ".apache.org"),
    )
]


def text_files() -> list[Path]:
    out = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, timeout=30
    ).stdout
    return [ROOT / n for n in out.decode().split("\0") if n and (ROOT / n).is_file()]


@pytest.mark.parametrize("host", REGISTRY_HOSTS)
def test_no_registry_host_is_named(host: str) -> None:
    naming = [
        str(path.relative_to(ROOT))
        for path in text_files()
        if host in path.read_text(errors="replace")
    ]
    assert not naming, (
        f"{host} is named in {naming}; packages come from where the machine is set to"
    )


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    package = re.search(r'__version__ = "(.+)"', (ROOT / "src/twofold/__init__.py").read_text())
    assert package and package[1] == project
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]["version"]
    assert workspace == project


def test_lock_satisfies_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    lock = (ROOT / "requirements.lock").read_text()
    locked = {
        m[1].lower().replace("_", "-") for m in re.finditer(r"^([\w.-]+)==", lock, re.MULTILINE)
    }
    for requirement in wanted:
        base = re.match(r"[\w.-]+", requirement)
        assert base and base[0].lower() in locked, f"{requirement} is not in requirements.lock"


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    page = (ROOT / "docs/dependencies.md").read_text()
    missing = [r for r in wanted if (m := re.match(r"[\w.-]+", r)) and m[0] not in page]
    assert not missing, f"docs/dependencies.md does not say what {missing} is for"


def test_every_crate_has_its_reason() -> None:
    page = (ROOT / "docs/dependencies.md").read_text()
    words = set(re.findall(r"[\w-]+", page))
    for manifest in sorted((ROOT / "crates").glob("*/Cargo.toml")):
        tables = tomllib.loads(manifest.read_text())
        wanted = {**tables.get("dependencies", {}), **tables.get("dev-dependencies", {})}
        missing = [n for n in wanted if n not in words and not n.startswith("twofold-")]
        assert not missing, f"docs/dependencies.md does not say what {missing} is for"


def test_oldest_rust_is_the_same_everywhere() -> None:
    workspace = tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["package"]
    script = re.search(r"^minimum=([\d.]+)", (ROOT / "scripts/rust.sh").read_text(), re.MULTILINE)
    assert script and workspace["rust-version"] == script[1]


@pytest.mark.parametrize(
    "script",
    [
        *sorted((ROOT / "scripts").glob("*.sh")),
        *(ROOT / "packaging" / name for name in ("build.sh", "completion.bash")),
        *sorted((ROOT / "packaging/debian").iterdir()),
        ROOT / ".ci/run",
    ],
    ids=str,
)
def test_scripts_parse(script: Path) -> None:
    run = subprocess.run(["bash", "-n", script], capture_output=True, text=True, timeout=10)
    assert run.returncode == 0, run.stderr
