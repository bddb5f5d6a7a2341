"""Commands about versions: apply one, look what it would do, list, compare, take back, drift.

A target is a module's name or `cluster.toml`. Apply and rollback are the same thing: both make a
new version on all nodes, so that nothing is ever lost by going back.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from twofold.config.difference import differences
from twofold.config.load import NodeConfig, check_module_name, digest_of, module_names
from twofold.daemon.changes import Changes, files_now
from twofold.daemon.history import CLUSTER, Version, check_target, named
from twofold.daemon.membership import Surroundings, configured, digests
from twofold.errors import CommandRefused, NodeUnreachable, NotThere
from twofold.wire.files import Files, pack, unpack

Body = Mapping[str, Any]
Answer = dict[str, Any]
Ask = Callable[[NodeConfig, str, Body], Awaitable[Body]]


def whom(caller: str, body: Body) -> str:
    """Who is behind a command: the console's user, a user of some node, or this machine's."""
    by = str(body.get("on_behalf_of") or caller)[:64]
    actor = body.get("actor")
    return f"{str(actor)[:64]} (through {by})" if actor else by


class Versions:
    """`completed(name, body)` makes a module's files whole: variables, port."""

    def __init__(
        self,
        around: Surroundings,
        ask: Ask,
        changes: Changes,
        completed: Callable[[str, Body], Files],
    ) -> None:
        self._etc = around.etc
        self._around = around
        self._ask = ask
        self._changes = changes
        self._history = changes.history
        self._completed = completed
        self.local: dict[str, Callable[[Body], Awaitable[Answer]]] = {
            "config_apply": self._config_apply,
            "config_history": self._config_history,
            "config_show": self._config_show,
            "config_diff": self._config_diff,
            "config_rollback": self._config_rollback,
            "config_drift": self._config_drift,
        }
        self.peer: dict[str, Callable[[str, Body], Awaitable[Answer]]] = {
            "peer_files": self._peer_files,
            "peer_target": self._peer_target,
        }

    # --- apply ------------------------------------------------------------------------------------

    async def apply(self, target: str, files: Files | None, body: Body) -> Answer:
        """A new version on all nodes; with `dry_run` only what it would lead to."""
        node = configured(self._etc)
        base = None if body.get("base") is None else str(body["base"])
        if body.get("dry_run"):
            self._changes.refuse_other_base(target, base)
            return await self._looked(node, target, files)
        by, why = str(body.get("by") or ""), str(body.get("why") or "")
        outcome = await self._changes.apply(node, target, files, by, why, base)
        return {
            "target": target,
            "version": outcome.version.number,
            "digest": outcome.version.digest,
            "nodes": outcome.nodes,
            "later": outcome.later,
            "effects": outcome.effects,
            "dry_run": False,
            "problems": [],
        }

    async def look(self, body: Body) -> Answer:
        """`config_check` with `target`: problems and effects on every node, nothing is kept."""
        target = target_of(body)
        return await self._looked(configured(self._etc), target, self._wanted(target, body))

    async def _looked(self, node: NodeConfig, target: str, files: Files | None) -> Answer:
        answers = await self._changes.look(node, target, files)
        problems: list[str] = []
        for answer in answers:
            problems += [p for p in answer["problems"] if p not in problems]
        return {
            "target": target,
            "checked": [target],
            "nodes": [a["node"] for a in answers],
            "problems": problems,
            "effects": [{**e, "node": a["node"]} for a in answers for e in a["effects"]],
            "dry_run": True,
        }

    def _wanted(self, target: str, body: Body) -> Files | None:
        """The files that a request means: those given, or this node's own."""
        if target == CLUSTER:
            return unpack(body["files"]) if body.get("files") else files_now(self._etc, target)
        is_new = target not in module_names(self._etc)
        if is_new and body.get("files") and not body.get("set"):
            return unpack(body["files"])
        return self._completed(target, body)

    async def _config_apply(self, body: Body) -> Answer:
        """Files as they are, with no value of before kept; without `files`, this node's."""
        target = target_of(body)
        return await self.apply(target, self._wanted(target, {**body, "exact": True}), body)

    async def _config_rollback(self, body: Body) -> Answer:
        target = target_of(body)
        version = self._chosen(target, body.get("version"))
        why = str(body.get("why") or f"back to version {version.number}")
        answer = await self.apply(target, version.files, {**body, "why": why})
        return {**answer, "back_to": version.number}

    def _chosen(self, target: str, number: Any) -> Version:
        """The version wanted; by itself the newest that differs from what is there now."""
        if number is not None:
            return self._history.version(target, int(number))
        now = files_now(self._etc, target)
        digest = "" if now is None else digest_of(now)
        versions = self._history.versions(target)
        last = versions[-1].digest if versions else ""
        # Edited by hand: the last version that was applied. Else: the one before it.
        skip = {digest, last} if last == digest else {digest}
        for version in reversed(versions):
            if version.digest not in skip:
                return version
        raise CommandRefused(
            f"there is no other version of {target} on this node",
            f"See: twofold config history {target}",
        )

    # --- looking ----------------------------------------------------------------------------------

    async def _config_history(self, body: Body) -> Answer:
        target = target_of(body)
        now = files_now(self._etc, target)
        digest = "" if now is None else digest_of(now)
        versions = [v.summary() for v in self._history.versions(target)]
        current = next((v["number"] for v in reversed(versions) if v["digest"] == digest), None)
        shown = [{**v, "current": v["number"] == current} for v in versions]
        return {"target": target, "versions": shown, "edited": bool(now) and current is None}

    async def _config_show(self, body: Body) -> Answer:
        target = target_of(body)
        files = self._of_source(target, body.get("version"))
        if files is None and body.get("version") is None:
            raise NotThere(f"there is no module {target!r} here", "See: twofold module list")
        if files is None:
            raise NotThere(f"there is no {target} in that version", "It was removed by it.")
        texts = {p: c.decode("utf-8", "replace") for p, (_, c) in files.items()}
        return {"target": target, "files": texts, "digest": digest_of(files), "packed": pack(files)}

    def _of_source(self, target: str, number: Any) -> Files | None:
        if number is None:
            return files_now(self._etc, target)
        return self._history.version(target, int(number)).files

    async def _config_diff(self, body: Body) -> Answer:
        """Without `target`: which files differ between the nodes. Else line by line:
        against `version`, `files` or the target on `with_node`; by itself, the last version."""
        if body.get("target") is None:
            return {"differences": await self._between_nodes()}
        target = target_of(body)
        now = files_now(self._etc, target)
        if body.get("files") is not None:
            sides = (now, unpack(body["files"]), "now", "given")
        elif body.get("with_node") is not None:
            name = str(body["with_node"])
            sides = (await self._of_node(name, target), now, name, configured(self._etc).name)
        else:
            version = self._compared_with(target, body.get("version"))
            other = None if version is None else version.files
            label = "nothing" if version is None else f"version {version.number}"
            sides = (other, now, label, "now")
        found = [vars(d) for d in differences(*sides)]
        return {"target": target, "from": sides[2], "to": sides[3], "differences": found}

    def _compared_with(self, target: str, number: Any) -> Version | None:
        if number is not None:
            return self._history.version(target, int(number))
        return self._history.last(target)

    async def _of_node(self, name: str, target: str) -> Files | None:
        body = {"command": "peer_target", "target": target}
        answer = await self._ask(configured(self._etc), name, body)
        return None if answer["files"] is None else unpack(answer["files"])

    async def _between_nodes(self) -> list[Answer]:
        """Which files differ between this node and each other one."""
        node = configured(self._etc)
        here = digests(self._etc)
        found: list[Answer] = []
        for peer in node.peers:
            answer = await self._ask(node, peer.name, {"command": "peer_files"})
            there: dict[str, str] = dict(answer["digests"])
            for file in sorted(here.keys() | there.keys()):
                if here.get(file) != there.get(file):
                    only = node.name if file not in there else peer.name if file not in here else ""
                    found.append({"file": file, "node": peer.name, "only_on": only})
        return found

    # --- drift ------------------------------------------------------------------------------------

    async def _config_drift(self, body: Body) -> Answer:
        """Per target: is it the version that was applied, here and on the other nodes?"""
        node = configured(self._etc)
        here = await asyncio.to_thread(self._standing)
        found: list[Answer] = []
        silent: list[str] = []
        for target, mine in here.items():
            if mine["edited"]:
                found.append(_drift(target, node.name, "edited", mine, None))
        for peer in node.peers:
            try:
                answer = await self._ask(node, peer.name, {"command": "peer_files"})
            except NodeUnreachable:
                silent.append(peer.name)
                continue
            there: dict[str, Answer] = dict(answer["standing"])
            for target in sorted(here.keys() | there.keys()):
                mine, theirs = here.get(target), there.get(target)
                if theirs and theirs["edited"]:
                    found.append(_drift(target, peer.name, "edited", theirs, None))
                elif (mine or {}).get("digest") != (theirs or {}).get("digest"):
                    found.append(_drift(target, peer.name, "differs", mine, theirs))
        return {"drift": found, "silent": silent}

    def _standing(self) -> dict[str, Answer]:
        found: dict[str, Answer] = {}
        for target in (CLUSTER, *module_names(self._etc)):
            now, last = files_now(self._etc, target), self._history.last(target)
            digest = "" if now is None else digest_of(now)
            edited = last is not None and last.digest != digest
            found[target] = {
                "digest": digest, "edited": edited, "number": last.number if last else 0,
            }  # fmt: skip
        return found

    async def _peer_files(self, caller: str, body: Body) -> Answer:
        standing = await asyncio.to_thread(self._standing)
        return {"digests": digests(self._etc), "standing": standing}

    async def _peer_target(self, caller: str, body: Body) -> Answer:
        target = str(body.get("target"))
        check_target(target)
        files = files_now(self._etc, target)
        return {"files": None if files is None else pack(files)}


def _drift(target: str, node: str, what: str, mine: Answer | None, theirs: Answer | None) -> Answer:
    apply = f"twofold config apply {target}"
    if what == "edited":
        text = f"{named(target)} was edited on node {node} and is not applied"
        mend = f"On {node}: {apply}, or take it back: twofold config rollback {target}"
    elif mine is None or theirs is None:
        where = f"not on node {node}" if theirs is None else f"on node {node} only"
        text = f"{named(target)} is {where}"
        mend = f"On the node that has it: {apply}"
    else:
        here, there = mine["number"], theirs["number"]
        text = f"{named(target)} is version {here} here, version {there} on {node}"
        mend = f"On the node whose version is right: {apply}"
    return {"target": target, "node": node, "what": what, "text": text, "mend": mend}


def target_of(body: Body) -> str:
    target = str(body.get("target") or body.get("module") or "")
    if target != CLUSTER:
        check_module_name(target)
    return target
