"""Modules: what they do, and what they are told to do."""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query

from twofold.errors import CommandRefused, NotThere
from twofold.web import confirm
from twofold.web.access import Admin, Control, Monitor, Parts
from twofold.web.api.models import (
    Action,
    ActionResult,
    Confirm,
    Decision,
    Done,
    Estimate,
    Module,
    ModuleFiles,
    ModuleList,
    Rescue,
    RescueList,
    ResyncBegun,
    ResyncStart,
    VerifyAnswer,
    VerifyStart,
    Why,
)
from twofold.web.api.shown import module_shown
from twofold.web.overview import Whole, whole, wholes
from twofold.web.services import Services
from twofold.web.watch import Snapshot

router = APIRouter(prefix="/modules", tags=["modules"])
Name = Annotated[str, Path(max_length=64, description="A module's name")]
NodeQuery = Annotated[str | None, Query(max_length=64, description="Where; null: all nodes")]
ActionName = Literal["start", "stop", "restart", "swap", "prim", "second"]
REACHED = {"start": ("PRIM", "ALONE", "SECOND", "UP"), "stop": ("STOP",)}


@router.get("")
async def modules(who: Monitor, parts: Parts) -> ModuleList:
    """Every module on every node."""
    snapshot = parts.watch.now()
    return ModuleList(
        here=snapshot.here, modules=[module_shown(w, snapshot) for w in wholes(snapshot)]
    )


@router.get("/{module}")
async def module(module: Name, who: Monitor, parts: Parts) -> Module:
    """One module on every node."""
    snapshot = parts.watch.now()
    return module_shown(known(snapshot, module), snapshot)


@router.post("/{module}/actions/{action}")
async def act(
    module: Name, action: ActionName, who: Control, body: Action, parts: Parts
) -> ActionResult:
    """Start, stop, restart, swap, prim or second.

    What interrupts the service for good or may lose data is refused with `confirm_needed` and the
    consequence, until `confirm` is the module's name.
    """
    snapshot = parts.watch.now()
    found = known(snapshot, module)
    node = body.node or _default_node(found, action, snapshot.here)
    if snapshot.node(node) is None:
        raise NotThere(f"there is no node {node!r} in this cluster")
    force = body.force and action == "prim"
    confirm.check(confirm.consequence(snapshot, module, action, node, force), module, body.confirm)
    fields: dict[str, Any] = {"force": True} if force else {}
    answer = await parts.act(who, action, node=node, module=module, **fields)
    reached = await _reached(parts, module, action, node, body.wait_s) if body.wait_s else None
    return ActionResult(
        module=module,
        node=node,
        sentence=str(answer.get("sentence", "")),
        state=answer.get("state"),
        reached=reached,
    )


def _default_node(found: Whole, action: str, here: str) -> str:
    """A restart and a swap are for the node that serves, as on the command line."""
    return found.serving if action in ("restart", "swap") and found.serving else here


async def _reached(parts: Services, module: str, action: str, node: str, wait_s: float) -> bool:
    """Whether the module came to rest where it was sent, within the time."""
    end_s = time.monotonic() + wait_s
    wanted = REACHED.get(action, ("PRIM", "ALONE", "UP", "SECOND"))
    with parts.watch.watching():
        await parts.watch.look_again()
        while time.monotonic() < end_s:
            version = parts.watch.version
            found = whole(parts.watch.snapshot, module)
            side = next((s for s in found.sides if s.node == node), None)
            ready = side is not None and side.object.get("readiness") == "Ready"
            if side is not None and side.state in wanted and (ready or wanted == ("STOP",)):
                return True
            await parts.watch.wait_change(version, min(1.0, end_s - time.monotonic()))
            await asyncio.sleep(0)
    return False


@router.get("/{module}/why")
async def why(
    module: Name,
    who: Monitor,
    parts: Parts,
    node: NodeQuery = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 20,
) -> Why:
    """The last decisions, with the sentence of the rule that made each."""
    snapshot = parts.watch.now()
    known(snapshot, module)
    nodes = [node] if node else [n.node for n in snapshot.nodes]
    if node and snapshot.node(node) is None:
        raise NotThere(f"there is no node {node!r} in this cluster")
    answers = await parts.ask_all(who, nodes, "why", module=module, limit=limit)
    decisions = [
        Decision.model_validate({**d, "node": a["node"]})
        for a in answers
        for d in a.get("decisions", ())
    ]
    decisions.sort(key=lambda d: d.at)
    return Why(module=module, decisions=decisions[-limit:])


# --- the two copies -------------------------------------------------------------------------------


@router.get("/{module}/verify")
async def verify_result(module: Name, who: Monitor, parts: Parts) -> VerifyAnswer:
    """The verification that runs, or was the last."""
    return await _verify(parts, who, "verify_result", module)


@router.post("/{module}/verify")
async def verify(module: Name, who: Control, body: VerifyStart, parts: Parts) -> VerifyAnswer:
    """Compare the copies while they are in use; with `repair` copy what differs."""
    return await _verify(parts, who, "verify", module, repair=body.repair)


@router.delete("/{module}/verify")
async def verify_stop(module: Name, who: Control, parts: Parts) -> VerifyAnswer:
    """End the verification that runs."""
    return await _verify(parts, who, "verify_stop", module)


@router.get("/{module}/estimate")
async def estimate(module: Name, who: Monitor, parts: Parts) -> Estimate:
    """What a resync would look at if it began now."""
    found = known(parts.watch.now(), module)
    answer = await parts.act(who, "estimate", node=found.serving, module=module)
    return Estimate.model_validate(answer["estimate"])


@router.post("/{module}/resync")
async def resync(module: Name, who: Control, body: ResyncStart, parts: Parts) -> ResyncBegun:
    """Compare everything and bring the other copy up to date; until then it cannot take over."""
    found = known(parts.watch.now(), module)
    answer = await parts.act(who, "resync", node=found.serving, module=module)
    return ResyncBegun(module=module, begins=str(answer["begins"]))


async def _verify(
    parts: Services, who: Any, command: str, module: str, **fields: Any
) -> VerifyAnswer:
    found = known(parts.watch.now(), module)
    answer = await parts.act(who, command, node=found.serving, module=module, **fields)
    return VerifyAnswer.model_validate({"module": module, "verify": answer.get("verify")})


@router.get("/{module}/rescues")
async def rescues(module: Name, who: Control, parts: Parts) -> RescueList:
    """What resyncs overwrote and kept aside, on each node."""
    snapshot = parts.watch.now()
    known(snapshot, module)
    nodes = [n.node for n in snapshot.nodes]
    answers = await parts.ask_all(who, nodes, "rescue_list", module=module)
    found = [
        Rescue(node=a["node"], id=str(r.get("id")), facts={k: v for k, v in r.items() if k != "id"})
        for a in answers
        for r in a.get("rescues", ())
    ]
    return RescueList(module=module, rescues=found)


@router.delete("/{module}/rescues/{node}/{rescue}")
async def delete_rescue(
    module: Name,
    node: Annotated[str, Path(max_length=64)],
    rescue: Annotated[str, Path(max_length=80)],
    who: Admin,
    body: Confirm,
    parts: Parts,
) -> Done:
    """Delete what was kept. There is no other copy of it."""
    snapshot = parts.watch.now()
    known(snapshot, module)
    if snapshot.node(node) is None:
        raise NotThere(f"there is no node {node!r} in this cluster")
    gone = confirm.Consequence(
        f"What rescue {rescue} on {node} holds exists nowhere else.", dangerous=True
    )
    confirm.check(gone, module, body.confirm)
    await parts.act(who, "rescue_delete", node=node, module=module, rescue=rescue)
    return Done()


@router.get("/{module}/files")
async def files(module: Name, who: Admin, parts: Parts) -> ModuleFiles:
    """The module's configuration and scripts, as they are on the node that answers."""
    known(parts.watch.now(), module)
    return ModuleFiles.model_validate(await parts.act(who, "module_show", module=module))


def known(snapshot: Snapshot, module: str) -> Whole:
    if snapshot.error is not None and not snapshot.nodes:
        raise CommandRefused(str(snapshot.error["text"]), str(snapshot.error["mend"]))
    if module not in snapshot.module_names():
        raise NotThere(f"there is no module {module!r}", "GET /modules lists them.")
    return whole(snapshot, module)
