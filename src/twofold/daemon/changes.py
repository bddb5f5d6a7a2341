"""A change of the configuration on all nodes: all or nothing, also when a daemon dies in between.

Two phases. *Prepare*, on every node: the new files are checked against that node's own directories,
interfaces and modules, and kept aside durably. Any refusal or silence ends it: nothing was changed
anywhere. *Commit*: the leading node writes the version into its history, and that record is the
decision; then it puts the files in place and tells the others, which do the same.

A daemon that dies is no gap. Every node looks at what it keeps aside (`settle`, at its start and
every few seconds): the leader finishes what its history says was decided and drops the rest; the
others ask the leader. Until the answer comes the old files stay in use, and drift is shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from twofold.adapters.pki import write_file
from twofold.config.load import NodeConfig, digest_of, module_files, module_names
from twofold.daemon.history import CLUSTER, History, Version, named
from twofold.daemon.modules_on_disk import remove_module, write_module
from twofold.errors import (
    ChangedMeanwhile,
    CommandRefused,
    ConfigError,
    NodeUnreachable,
    TwofoldError,
)
from twofold.wire.files import Files

Body = Mapping[str, Any]
Answer = dict[str, Any]
Ask = Callable[[NodeConfig, str, Body], Awaitable[Body]]

SETTLE_EVERY_S = 3.0
OPEN_S = 30.0  # a change that its leader may still be at


@dataclass(frozen=True)
class Found:
    """What one node's check says about a change."""

    problems: list[str]
    effects: list[dict[str, Any]]


@dataclass(frozen=True)
class Outcome:
    version: Version
    nodes: list[str]
    later: list[str]  # nodes that were silent at the end and take it when they are back
    effects: list[dict[str, Any]]


def files_now(etc: Path, target: str) -> Files | None:
    """The target as it is on this node's disk."""
    if target == CLUSTER:
        return {CLUSTER: (0o644, (etc / CLUSTER).read_bytes())}
    return module_files(etc / "modules" / target) if target in module_names(etc) else None


def put_in_place(etc: Path, target: str, files: Files | None) -> None:
    if target == CLUSTER:
        if files is not None:
            write_file(etc / CLUSTER, files[CLUSTER][1], 0o644)
    elif files is None:
        remove_module(etc, target)
    else:
        write_module(etc, target, files)


class Changes:
    """`check(version)` is this node's opinion, `reload()` is called when files were replaced."""

    def __init__(
        self,
        etc: Path,
        var: Path,
        ask: Ask,
        check: Callable[[NodeConfig, Version], Found],
        reload: Callable[[], Awaitable[None]],
    ) -> None:
        self._etc = etc
        self._aside = var / "changes"
        self.history = History(var)
        self._ask = ask
        self._check = check
        self._reload = reload
        self._lock = asyncio.Lock()
        self._leading: str | None = None
        self.peer: dict[str, Callable[[str, Body], Awaitable[Answer]]] = {
            "peer_prepare": self._peer_prepare,
            "peer_commit": self._peer_commit,
            "peer_abandon": self._peer_abandon,
            "peer_undo": self._peer_undo,
            "peer_outcome": self._peer_outcome,
        }

    # --- leading ----------------------------------------------------------------------------------

    async def apply(
        self,
        node: NodeConfig,
        target: str,
        files: Files | None,
        by: str,
        why: str,
        base: str | None = None,
    ) -> Outcome:
        """On all nodes, or an error and nothing changed.

        `base` is the digest of what the change was made from ("" where nothing was): refused when
        something else is there now. It is looked at while every node keeps this change aside, and
        so takes no other.
        """
        async with self._lock:
            version = Version(
                target, uuid.uuid4().hex, 0, round(time.time(), 3), by, why[:500], node.name, files
            )
            self._leading = version.id
            try:
                return await self._lead(node, version, base)
            finally:
                self._leading = None

    async def look(self, node: NodeConfig, target: str, files: Files | None) -> list[Answer]:
        """What every node would say, without keeping anything."""
        version = Version(target, "", 0, time.time(), "", "", node.name, files)
        body = {"command": "peer_prepare", "change": version.to_data(), "look": True}
        return await self._prepared(node, body)

    async def _prepared(self, node: NodeConfig, body: Body) -> list[Answer]:
        names = [n.name for n in node.cluster.nodes]
        answers = await asyncio.gather(
            *(self._ask(node, n, body) for n in names), return_exceptions=True
        )
        found: list[Answer] = []
        for name, answer in zip(names, answers, strict=True):
            if isinstance(answer, NodeUnreachable):
                raise CommandRefused(
                    f"node {name} cannot be reached; nothing was changed",
                    "A configuration is applied on all nodes or on none. Start twofoldd there.",
                )
            if isinstance(answer, BaseException):
                raise answer
            found.append({**answer, "node": name})
        return found

    def refuse_other_base(self, target: str, base: str | None) -> None:
        files = files_now(self._etc, target)
        if base is None or base == ("" if files is None else digest_of(files)):
            return
        last = self.history.last(target)
        who = f" by {last.by}" if last is not None and last.by else ""
        raise ChangedMeanwhile(
            f"{named(target)} was changed meanwhile{who}; nothing was applied",
            "Take the newest, make the change again, and apply that.",
        )

    async def _lead(self, node: NodeConfig, version: Version, base: str | None) -> Outcome:
        names = [n.name for n in node.cluster.nodes]
        try:
            self.refuse_other_base(version.target, base)  # the soonest; again when none can follow
            answers = await self._prepared(
                node, {"command": "peer_prepare", "change": version.to_data()}
            )
            refuse_problems(answers)
            self.refuse_other_base(version.target, base)
        except BaseException:
            await self._tell(node, names, "peer_abandon", version)
            raise
        version = replace(version, number=1 + max(int(a["last"]) for a in answers))
        others = [n for n in names if n != node.name]
        try:
            await asyncio.to_thread(self._commit, version)
        except (OSError, TwofoldError) as e:
            await self._tell(node, names, "peer_abandon", version)
            raise CommandRefused(
                f"node {node.name} could not write {version.target}, nothing was changed: {e}"
            ) from None
        later = await self._tell_commit(node, others, version)
        await self._reload()
        effects = [{**e, "node": a["node"]} for a in answers for e in a["effects"]]
        return Outcome(version, names, later, effects)

    async def _tell_commit(
        self, node: NodeConfig, others: Sequence[str], version: Version
    ) -> list[str]:
        body = {
            "command": "peer_commit",
            "target": version.target,
            "change_id": version.id,  # `id` is the frame's own
            "number": version.number,
        }
        later: list[str] = []
        for name in others:
            try:
                await self._ask(node, name, body)
            except NodeUnreachable:
                later.append(name)  # it asks us when it is back
            except TwofoldError as e:
                await self._tell(node, others, "peer_undo", version)
                await asyncio.to_thread(self._undo, version.target, version.id)
                await self._tell(node, others, "peer_abandon", version)
                raise CommandRefused(
                    f"node {name} could not write {version.target}, so it was undone: {e}"
                ) from None
        return later

    async def _tell(
        self, node: NodeConfig, names: Sequence[str], command: str, version: Version
    ) -> None:
        body = {"command": command, "target": version.target, "change_id": version.id}
        told = [self._ask(node, n, body) for n in names]
        await asyncio.gather(*told, return_exceptions=True)

    # --- on every node ----------------------------------------------------------------------------

    async def _peer_prepare(self, caller: str, body: Body) -> Answer:
        version = Version.from_data(body.get("change"))
        node = self._node_of(caller)
        if not body.get("look"):
            self._refuse_while_open(version)
        found = await asyncio.to_thread(self._check, node, version)
        last = await asyncio.to_thread(self._last_number, version.target)
        if not found.problems and not body.get("look"):
            data = json.dumps({"change": version.to_data(), "since": time.time()}).encode()
            await asyncio.to_thread(write_file, self._file(version.target), data, 0o600)
        return {"problems": found.problems, "effects": found.effects, "last": last}

    def _node_of(self, caller: str) -> NodeConfig:
        from twofold.daemon.membership import configured

        return configured(self._etc)

    def _refuse_while_open(self, version: Version) -> None:
        kept = self._kept(version.target)
        if kept is None or kept[0].id == version.id:
            return
        if 0 <= time.time() - kept[1] < OPEN_S:
            raise CommandRefused(
                f"{version.target} is just being changed by node {kept[0].node}",
                "Try again in a moment.",
            )

    def _last_number(self, target: str) -> int:
        last = self.history.last(target)
        if last is not None:
            return last.number
        return 0 if files_now(self._etc, target) is None else 1

    async def _peer_commit(self, caller: str, body: Body) -> Answer:
        target = str(body.get("target"))
        kept = self._kept(target)
        if kept is None or kept[0].id != str(body.get("change_id")):
            last = self.history.last(target)
            if last is not None and last.id == body.get("change_id"):
                return {}  # told twice
            raise CommandRefused(f"the change of {target} is not kept here any more")
        await asyncio.to_thread(self._commit, replace(kept[0], number=int(body["number"])))
        await self._reload()
        return {}

    async def _peer_abandon(self, caller: str, body: Body) -> Answer:
        target = str(body.get("target"))
        kept = self._kept(target)
        if kept is not None and kept[0].id == str(body.get("change_id")):
            self._file(target).unlink(missing_ok=True)
        return {}

    async def _peer_undo(self, caller: str, body: Body) -> Answer:
        await asyncio.to_thread(self._undo, str(body.get("target")), str(body.get("change_id")))
        await self._reload()
        return {}

    async def _peer_outcome(self, caller: str, body: Body) -> Answer:
        """What became of a change that this node led?"""
        wanted = str(body.get("change_id"))
        if wanted == self._leading:
            return {"outcome": "open"}
        for version in self.history.versions(str(body.get("target"))):
            if version.id == wanted:
                return {"outcome": "committed", "number": version.number}
        return {"outcome": "dropped"}

    def _commit(self, version: Version) -> None:
        """The record first: it is the decision. Safe to do again after any stop."""
        self._record_what_was(version.target)
        self.history.record(version)
        try:
            put_in_place(self._etc, version.target, version.files)
        except OSError:
            self.history.forget(version)
            raise
        self._file(version.target).unlink(missing_ok=True)

    def _record_what_was(self, target: str) -> None:
        """So that the first change can be taken back too."""
        found = files_now(self._etc, target)
        if found is not None and self.history.last(target) is None:
            self.history.record(
                Version(target, uuid.uuid4().hex, 1, time.time(), "", "as it was found", "", found)
            )

    def _undo(self, target: str, id: str) -> None:
        versions = self.history.versions(target)
        if not versions or versions[-1].id != id:
            return
        before = versions[-2].files if len(versions) > 1 else None
        put_in_place(self._etc, target, before)
        self.history.forget(versions[-1])

    # --- after a crash ----------------------------------------------------------------------------

    async def run(self, node: Callable[[], NodeConfig]) -> None:
        while True:
            await self.settle(node())
            await asyncio.sleep(SETTLE_EVERY_S)

    async def settle(self, node: NodeConfig) -> None:
        """Finish or drop what a stop of some daemon left open."""
        for target in self._open():
            kept = self._kept(target)
            if kept is None or kept[0].id == self._leading:
                continue
            with contextlib.suppress(NodeUnreachable):
                await self._settle(node, kept[0])

    async def _settle(self, node: NodeConfig, version: Version) -> None:
        body = {"command": "peer_outcome", "target": version.target, "change_id": version.id}
        if version.node not in {n.name for n in node.cluster.nodes}:
            answer: Body = {"outcome": "dropped"}
        else:
            answer = await self._ask(node, version.node, body)
        if answer["outcome"] == "open":
            return
        kept = self._kept(version.target)
        if kept is None or kept[0].id != version.id:
            return  # settled meanwhile
        if answer["outcome"] == "committed":
            await asyncio.to_thread(self._commit, replace(version, number=int(answer["number"])))
            await self._reload()
        else:
            self._file(version.target).unlink(missing_ok=True)

    def note_found(self, target: str, why: str) -> None:
        """A file that changed by another way than `apply` (a node joined, a person edited)."""
        files, last = files_now(self._etc, target), self.history.last(target)
        if files is None or (last is not None and last.digest == digest_of(files)):
            return
        number = 1 if last is None else last.number + 1
        self.history.record(
            Version(target, uuid.uuid4().hex, number, time.time(), "", why, "", files)
        )

    def _open(self) -> list[str]:
        if not self._aside.is_dir():
            return []
        return sorted(f.stem for f in self._aside.glob("*.json") if not f.name.startswith("."))

    def _file(self, target: str) -> Path:
        return self._aside / f"{target}.json"

    def _kept(self, target: str) -> tuple[Version, float] | None:
        """What is kept aside for this target, and since when."""
        try:
            data = json.loads(self._file(target).read_text("utf-8"))
            return Version.from_data(data["change"]), float(data["since"])
        except (OSError, ValueError, KeyError, TypeError, TwofoldError):
            return None


def refuse_problems(answers: Sequence[Answer]) -> None:
    problems: list[str] = []
    for answer in answers:
        problems += [p for p in answer["problems"] if p not in problems]
    if problems:
        raise ConfigError("\n".join(problems))
