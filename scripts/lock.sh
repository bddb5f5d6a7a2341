#!/bin/bash
# Renews requirements.lock: the newest versions inside the ranges of pyproject.toml, in a fresh environment.

set -euo pipefail
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
.venv/bin/python -m venv "$work/env"
.venv/bin/python - >"$work/wanted" <<'END'
import pathlib
import tomllib

project = tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]
print("\n".join(project["dependencies"] + project["optional-dependencies"]["dev"]))
END
"$work/env/bin/pip" install -q --disable-pip-version-check -r "$work/wanted"
{
    grep '^#' requirements.lock
    "$work/env/bin/pip" freeze
} >"$work/lock"
mv "$work/lock" requirements.lock
echo "requirements.lock renewed; look at the difference with: git diff requirements.lock"
