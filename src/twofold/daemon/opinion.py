"""What this node says about a new configuration before anybody writes it.

Problems (sentences with line and column) refuse the change on all nodes. Effects say what it would
do to what runs here: at once, at the next start; what would need a stop is a problem.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from twofold.adapters import facts, pki
from twofold.config.check import check_module
from twofold.config.effects import Effect, When, cluster_effects, in_words, module_effects
from twofold.config.load import (
    Module,
    NodeConfig,
    digest_of,
    load_module,
    module_files,
    module_names,
    parse_cluster,
    parse_module,
)
from twofold.config.problem import Problem, located
from twofold.daemon.changes import Found, files_now
from twofold.daemon.history import CLUSTER, History, Version
from twofold.daemon.membership import Surroundings
from twofold.errors import ConfigError
from twofold.wire.files import Files


class Opinion:
    def __init__(self, around: Surroundings) -> None:
        self._around = around
        self._etc = around.etc
        self._history = History(around.var)

    def check(self, node: NodeConfig, version: Version) -> Found:
        if version.target == CLUSTER:
            return self._of_cluster(node, version.files)
        if version.files is None:
            return self._of_removal(node, version.target)
        return self.of_module(node, version.target, version.files)

    def of_module(self, node: NodeConfig, name: str, files: Files) -> Found:
        file = f"modules/{name}/module.toml"
        try:
            text = module_text(files)
            problems = [*self._problems(node, name, files, text, file)]
            effects = self._effects(node, name, files)
        except ConfigError as e:
            return Found(str(e).splitlines(), [])
        state = self._around.state_of(name)
        problems += located(
            (_needs_stop(e, name, state, node.name) for e in effects if e.when is When.STOPPED),
            file,
            text,
        )
        sentences = [f"{p.sentence()}. {p.mend}".rstrip() for p in problems]
        return Found(sentences, [_data(e) for e in effects])

    def _problems(
        self, node: NodeConfig, name: str, files: Files, text: str, file: str
    ) -> list[Problem]:
        with TemporaryDirectory(prefix="twofold-check-") as aside:
            for path, (mode, content) in files.items():
                pki.write_file(Path(aside) / path, content, mode)
            config = parse_module(name, text, file)
            module = Module(name, config, Path(aside), digest_of(files))
            found = facts.gather(module, self._around.places)
        problems = check_module(module, load_modules_but(self._etc, name), node, found)
        return located(problems, file, text)

    def _effects(self, node: NodeConfig, name: str, files: Files) -> list[Effect]:
        """Against what runs here; a module at rest takes everything at once."""
        effects = module_effects(self._files_that_run(name), files, name)
        effects = [_stays(e, node) for e in effects]
        if self._around.state_of(name) == "STOP":
            return [replace(e, when=When.NOW) for e in effects]
        return effects

    def _files_that_run(self, name: str) -> Files | None:
        """The files it was loaded from: those on disk may have been edited since."""
        on_disk, running = files_now(self._etc, name), self._around.running(name)
        if running is None or (on_disk is not None and digest_of(on_disk) == running.digest):
            return on_disk
        for version in reversed(self._history.versions(name)):
            if version.digest == running.digest:
                return version.files
        return on_disk

    def _of_removal(self, node: NodeConfig, name: str) -> Found:
        state = self._around.state_of(name)
        if state == "STOP":
            return Found([], [])
        running = f"module {name!r} is {state} on node {node.name}, it cannot be removed. "
        return Found([running + f"Stop it first: twofold stop {name} -H '*'"], [])

    # --- cluster.toml -----------------------------------------------------------------------------

    def _of_cluster(self, node: NodeConfig, files: Files | None) -> Found:
        if files is None or set(files) != {CLUSTER}:
            return Found(["cluster.toml cannot be removed. Use: twofold cluster leave"], [])
        try:
            text = files[CLUSTER][1].decode("utf-8", "replace")
            cluster = parse_cluster(text, CLUSTER)
            effects = cluster_effects(self._cluster_that_runs(), text)
        except ConfigError as e:
            return Found(str(e).splitlines(), [])
        running = [n for n in module_names(self._etc) if self._around.state_of(n) != "STOP"]
        if not running:
            effects = [replace(e, when=When.NOW) if e.when is When.STOPPED else e for e in effects]
        problems = [*_cluster_refusals(effects, running, node.name)]
        if not problems:
            problems = self._modules_under(replace(node, cluster=cluster))
        return Found(problems, [_data(e) for e in effects])

    def _cluster_that_runs(self) -> str:
        """The last version that was agreed on; the file may have been edited since."""
        last = self._history.last(CLUSTER)
        files = last.files if last is not None and last.files else files_now(self._etc, CLUSTER)
        return files[CLUSTER][1].decode("utf-8", "replace") if files else ""

    def _modules_under(self, node: NodeConfig) -> list[str]:
        """A module must still be right in the new cluster: its witness, its addresses."""
        problems: list[str] = []
        for name in module_names(self._etc):
            files = module_files(self._etc / "modules" / name)
            text, file = module_text(files), f"modules/{name}/module.toml"
            problems += [
                f"{p.sentence()}. {p.mend}" for p in self._problems(node, name, files, text, file)
            ]
        return problems


def _cluster_refusals(effects: list[Effect], running: list[str], node: str) -> list[str]:
    found: list[str] = []
    for effect in effects:
        if effect.when is When.NEVER:
            found.append(
                f"{CLUSTER}: {effect.key} cannot be changed by hand. Nodes come and go with "
                "`twofold cluster invite`, `join`, `leave` and `remove`."
            )
        elif effect.when is When.STOPPED:
            found.append(
                f"{CLUSTER}: {effect.key} cannot change while module {running[0]!r} runs on node "
                f"{node}. Stop it first: twofold stop {running[0]} -H '*'"
            )
    return found


def _stays(effect: Effect, node: NodeConfig) -> Effect:
    """To write down the nodes that it lives on anyway moves nothing."""
    if effect.key != "module.nodes":
        return effect
    every = [n.name for n in node.cluster.nodes]
    same = sorted(effect.before or every) == sorted(effect.after or every)
    return replace(effect, when=When.NOW) if same else effect


def _needs_stop(effect: Effect, name: str, state: str, node: str) -> Problem:
    parts = effect.key.split(".")
    return Problem(
        tuple(parts[:2]) if effect.after is not None else tuple(parts[:1]),
        f"{effect.key} cannot change while the module is {state} on node {node}",
        f"Stop it first: twofold stop {name} -H '*'",
    )


def _data(effect: Effect) -> dict[str, Any]:
    return {
        "key": effect.key,
        "before": effect.before,
        "after": effect.after,
        "when": effect.when.value,
        "text": in_words(effect),
    }


def module_text(files: Files) -> str:
    if "module.toml" not in files:
        raise ConfigError("the module has no module.toml", "Write one.")
    try:
        return files["module.toml"][1].decode("utf-8")
    except UnicodeDecodeError:
        raise ConfigError("module.toml is not UTF-8 text", "Save it as UTF-8.") from None


def load_modules_but(etc: Path, name: str) -> tuple[Module, ...]:
    return tuple(load_module(etc, n) for n in module_names(etc) if n != name)
