# The few words of this repository. `make help` lists them.
# Each word does everything it needs, from a fresh clone, as root on Debian or Ubuntu.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PY := .venv/bin
RUST := scripts/rust.sh
export PYO3_PYTHON := $(CURDIR)/.venv/bin/python
# mirror-py is an extension module: only Python can load it, so its tests are Python's.
CRATES := --workspace --exclude twofold-mirror-py

# Inputs for each decoder in `make test-long`.
FUZZ ?= 10000000

.PHONY: help setup package demo sim test test-long test-vm test-browser check bench fmt clean

help: ## this list
	@echo "Twofold: high availability on two ordinary servers. Words:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Debian packages, Python in .venv, Rust build; leaves .venv/bin/twofold
	@scripts/setup.sh build

package: ## the .deb for both servers, with everything it needs, in dist/
	@packaging/build.sh

demo: ## the main job in the lab: two nodes, a power cut, nothing lost
	@scripts/setup.sh lab
	@$(PY)/twofold lab demo

sim: ## both brains in a world of faults: SEEDS=n JSON=1, or SEED=n to read one
	@scripts/setup.sh build >&2
	@$(PY)/python -m tests.sim $(if $(SEED),--seed $(SEED)) $(if $(SEEDS),--seeds $(SEEDS)) \
	    $(if $(FROM),--first $(FROM)) $(if $(JOBS),--jobs $(JOBS)) $(if $(JSON),--json)

test: ## every test (needs root and /dev/fuse for the tiers with real mounts)
	@scripts/setup.sh test
	$(RUST) cargo test --release --locked $(CRATES)
	$(PY)/pytest

test-long: ## the tests that take hours: power cuts, fuzzing, torture, large trees
	@scripts/setup.sh test
	TWOFOLD_FUZZ=$(FUZZ) $(RUST) cargo test --release --locked $(CRATES) -- --nocapture fuzz
	$(PY)/pytest -m long

test-vm: ## two real machines under qemu, with systemd and NFS: JSON=1, ARGS="-k power"
	@scripts/setup.sh vm >&2
	@$(PY)/python -m tests.vm $(if $(JSON),--json) $(ARGS)

test-browser: ## the console in Debian's Chromium; pictures of every page in .cache/console
	@scripts/setup.sh browser
	$(PY)/pytest -m long tests/browser

check: ## linters, types, layers, formatting
	@scripts/setup.sh check
	$(PY)/ruff check
	$(PY)/ruff format --check
	$(PY)/pyright
	$(PY)/lint-imports
	$(PY)/pytest tests/tidy
	@scripts/model.sh
	$(RUST) cargo fmt --all --check
	$(RUST) cargo clippy --release --locked --workspace --all-targets -- -D warnings

bench: ## side by side: bare directory, mount alone, Twofold, GlusterFS (about 15 minutes)
	@scripts/setup.sh bench
	$(PY)/python -m bench $(BENCH)

fmt: ## format Python and Rust
	@scripts/setup.sh check
	$(PY)/ruff check --fix-only
	$(PY)/ruff format
	$(RUST) cargo fmt --all

clean: ## remove what was built (not the downloaded crates and wheels)
	rm -rf target .venv dist bench/work
	find src crates tests bench -name '*.so' -delete
	find src tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
