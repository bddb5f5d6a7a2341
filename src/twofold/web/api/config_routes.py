"""Configuration: modules and cluster.toml, checked, applied, compared, taken back; the library.

The daemon decides (`twofold.daemon.versions`); a route only turns files into its form and back.
"""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from twofold.config.example import MODELS
from twofold.config.library import LIBRARY, LibraryModule, library, named
from twofold.config.load import check_module_name, digest_of, module_files
from twofold.config.render import json_schema
from twofold.errors import ConfigError, NotThere, OperatorError
from twofold.web import confirm
from twofold.web.access import Admin, Monitor, Parts
from twofold.web.api import files as of_api
from twofold.web.api.config_models import (
    Applied,
    Apply,
    ArbitrationShown,
    Check,
    Compare,
    DiffShown,
    HistoryShown,
    LibraryEntry,
    LibraryModuleShown,
    LibraryShown,
    NewModule,
    Opinion,
    Pack,
    Rollback,
    Target,
    VariableShown,
)
from twofold.web.api.models import Confirm, Drift
from twofold.web.services import Services
from twofold.web.sessions import Who
from twofold.wire.files import unpack
from twofold.wire.local import APPLY_TIMEOUT_S
from twofold.wire.packed import SUFFIX, packed, unpacked

router = APIRouter(tags=["configuration"])
CLUSTER = "cluster.toml"
ANYTHING = "*"
TargetName = Annotated[str, Path(max_length=64, description="A module's name, or cluster.toml")]
ModuleName = Annotated[str, Path(max_length=64, description="A module's name")]
VersionQuery = Annotated[int | None, Query(ge=1, le=1_000_000_000, description="null: now")]


@router.get("/config/drift")
async def config_drift(who: Monitor, parts: Parts) -> Drift:
    """What is not the version that was applied, here or on another node."""
    return Drift.model_validate(await parts.act(who, "config_drift"))


@router.get("/config/schema/{file}")
async def schema(file: Literal["module", "cluster", "node"], who: Monitor) -> dict[str, Any]:
    """The JSON Schema of module.toml, cluster.toml or node.toml."""
    return json.loads(json_schema(MODELS[file]))


# --- one target -----------------------------------------------------------------------------------


@router.get("/config/targets/{target}")
async def show(
    target: TargetName, who: Admin, parts: Parts, version: VersionQuery = None
) -> Target:
    """The files of a module, or cluster.toml; `digest` is the base of a change."""
    answer = await parts.act(who, "config_show", target=target, version=version)
    files = of_api.shown_packed(answer["packed"])
    return Target(target=target, digest=str(answer["digest"]), files=files)


@router.post("/config/targets/{target}/check")
async def check(target: TargetName, who: Admin, body: Check, parts: Parts) -> Opinion:
    """What every node says about these files: problems with line and column, and effects."""
    fields: dict[str, Any] = {"target": target, "set": body.set, "exact": True}
    if body.files is not None:
        fields["files"] = of_api.given(body.files)
    try:
        answer = await _asked(parts, who, "config_check", **fields)
    except ConfigError as e:  # so wrong that no other node had to be asked
        nodes = [parts.watch.snapshot.here]
        return Opinion(target=target, nodes=nodes, problems=of_api.problems_in(e), effects=[])
    problems = of_api.problems(answer["problems"])
    return Opinion.model_validate({**answer, "problems": problems})


@router.put("/config/targets/{target}")
async def apply(target: TargetName, who: Admin, body: Apply, parts: Parts) -> Applied:
    """On all nodes, or on none. `files` replaces all of them, `set` gives variables a value."""
    if body.set and target == CLUSTER:
        raise ConfigError("cluster.toml has no variables", "Send its text in `files`.")
    fields: dict[str, Any] = {"target": target, "set": body.set, "why": body.why}
    if body.files is not None:
        fields["files"] = of_api.given(body.files)
    fields |= {"base": _base(body.base), "dry_run": body.dry_run}
    return _applied(target, await _asked(parts, who, "config_apply", **fields))


@router.get("/config/targets/{target}/history")
async def history(target: TargetName, who: Admin, parts: Parts) -> HistoryShown:
    """The last ten versions, oldest first."""
    answer = await parts.act(who, "config_history", target=target)
    if not answer["versions"] and target not in (CLUSTER, *parts.watch.snapshot.module_names()):
        raise NotThere(f"there is no module {target!r}, and never was", "GET /modules lists them.")
    return HistoryShown.model_validate(answer)


@router.post("/config/targets/{target}/diff")
async def diff(target: TargetName, who: Admin, body: Compare, parts: Parts) -> DiffShown:
    """Line by line: against given files, a version, or what another node has."""
    fields: dict[str, Any] = {"version": body.version, "with_node": body.node}
    if sum(x is not None for x in (body.files, body.version, body.node)) > 1:
        raise ConfigError("only one of files, version and node can be compared with")
    if body.node is not None and parts.watch.snapshot.node(body.node) is None:
        raise NotThere(f"there is no node {body.node!r} in this cluster")
    if body.files is not None:
        fields["files"] = of_api.given(body.files)
    return DiffShown.model_validate(
        await _asked(parts, who, "config_diff", target=target, **fields)
    )


@router.post("/config/targets/{target}/rollback")
async def rollback(target: TargetName, who: Admin, body: Rollback, parts: Parts) -> Applied:
    """An older version again, as a new one, on all nodes; a removed module comes back."""
    fields: dict[str, Any] = {"version": body.version, "base": _base(body.base)}
    if body.why:
        fields["why"] = body.why
    fields["dry_run"] = body.dry_run
    return _applied(target, await _asked(parts, who, "config_rollback", target=target, **fields))


async def _asked(parts: Services, who: Who, command: str, **fields: Any) -> dict[str, Any]:
    return await parts.act(who, command, timeout_s=APPLY_TIMEOUT_S, **fields)


def _base(base: str) -> str | None:
    return None if base == ANYTHING else base


def _applied(target: str, answer: dict[str, Any]) -> Applied:
    defaults: dict[str, Any] = {"version": 0, "digest": "", "later": []}
    problems = of_api.problems(answer["problems"])
    return Applied.model_validate({**defaults, **answer, "target": target, "problems": problems})


# --- modules come and go --------------------------------------------------------------------------


@router.post("/modules", status_code=201)
async def add(who: Admin, body: NewModule, parts: Parts) -> Applied:
    """A new module on all nodes, from the library or of given files. It is not started."""
    if (body.library is None) == (body.files is None):
        raise ConfigError("a new module needs either `library` or `files`")
    if body.library is not None:
        directory = LIBRARY / _named(body.library).name
        given = of_api.given(of_api.shown(await asyncio.to_thread(module_files, directory)))
    else:
        given = of_api.given(body.files or {})
    answer = await _asked(
        parts, who, "module_add", module=body.module, files=given, set=body.set, why=body.why,
        dry_run=body.dry_run,
    )  # fmt: skip
    return _applied(body.module, answer)


@router.delete("/modules/{module}")
async def remove(module: ModuleName, who: Admin, body: Confirm, parts: Parts) -> Applied:
    """Its configuration, off all nodes; its directories keep their content."""
    if module not in parts.watch.now().module_names():
        raise NotThere(f"there is no module {module!r}", "GET /modules lists them.")
    gone = confirm.Consequence(
        f"The configuration of {module} is removed on all nodes. Its directories keep their "
        "content, and a rollback brings it back.",
        dangerous=True,
    )
    confirm.check(gone, module, body.confirm)
    return _applied(module, await _asked(parts, who, "module_remove", module=module))


@router.get(
    "/modules/{module}/pack",
    response_class=Response,
    responses={
        200: {
            "description": "The module as one file",
            "content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def pack_module(module: ModuleName, who: Admin, parts: Parts) -> Response:
    """The module as one file, as `twofold module pack` writes it; passwords in it too."""
    check_module_name(module)  # it becomes a header
    files = unpack((await parts.act(who, "config_show", target=module))["packed"])
    headers = {"content-disposition": f'attachment; filename="{module}{SUFFIX}"'}
    return Response(packed(files), media_type="application/gzip", headers=headers)


@router.post(
    "/packs",
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}}
            },
        }
    },
)
async def read_pack(who: Admin, request: Request) -> Pack:
    """Look into a packed module (the body is the file); `files` is for POST /modules."""
    data = await request.body()
    try:
        files = await asyncio.to_thread(unpacked, data, "this")
    except OperatorError as e:
        raise ConfigError(e.sentence, e.mend) from None
    return Pack(
        digest=digest_of(files), files=of_api.shown(files), variables=of_api.variables(files)
    )


# --- the library ----------------------------------------------------------------------------------


@router.get("/library")
async def library_list(who: Monitor) -> LibraryShown:
    """The modules that come with Twofold, and what each variable means."""
    return LibraryShown(modules=[LibraryEntry(**_entry(m)) for m in library()])


@router.get("/library/{name}")
async def library_show(
    name: Annotated[str, Path(max_length=64)], who: Monitor
) -> LibraryModuleShown:
    """One of them, with its files."""
    module = _named(name)
    files = await asyncio.to_thread(module_files, LIBRARY / module.name)
    return LibraryModuleShown(**_entry(module), files=of_api.shown(files))


def _named(name: str) -> LibraryModule:
    try:
        return named(name)
    except OperatorError as e:
        raise NotThere(e.sentence, e.mend) from None


def _entry(module: LibraryModule) -> dict[str, Any]:
    variables = [
        VariableShown(name=name, default=default, help=text)
        for name, (default, text) in module.variables.items()
    ]
    return {"name": module.name, "description": module.description, "variables": variables}


@router.get("/cluster/arbitration")
async def arbitration(who: Monitor, parts: Parts) -> ArbitrationShown:
    """The witnesses and ping addresses: who rules when the nodes lose each other."""
    return ArbitrationShown.model_validate(await parts.act(who, "cluster_arbitration"))
