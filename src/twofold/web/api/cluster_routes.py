"""The cluster, its log, its configuration's drift, and the stream of states."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from twofold.errors import CommandRefused
from twofold.web.access import Monitor, Parts
from twofold.web.api.models import Cluster, Log, LogEntry, ModuleList
from twofold.web.api.shown import module_shown, node_shown
from twofold.web.daemon_link import Busy
from twofold.web.overview import wholes
from twofold.web.services import Services
from twofold.web.sessions import Who

router = APIRouter(tags=["cluster"])
STREAMS_MAX = 200
STILL_ALIVE_EVERY_S = 15.0
STREAM_EVERY_S = 0.5
Limit = Annotated[int, Query(ge=1, le=1000)]


@router.get("/cluster")
async def cluster(who: Monitor, parts: Parts) -> Cluster:
    """The nodes, whether each answers, and where its console is."""
    snapshot = parts.watch.now()
    if not snapshot.here:
        raise CommandRefused(
            str((snapshot.error or {}).get("text") or "this machine is part of no cluster yet"),
            "Make one with: twofold cluster init",
        )
    digests = [n.cluster.get("digests") for n in snapshot.nodes if n.reachable]
    return Cluster(
        name=str(snapshot.cluster["cluster"]),
        id=str(snapshot.cluster["cluster_id"]),
        here=snapshot.here,
        networks=list(snapshot.cluster["networks"]),
        nodes=[node_shown(n, snapshot) for n in snapshot.nodes],
        configuration_equal=all(d == digests[0] for d in digests),
    )


@router.get("/log")
async def log(
    who: Monitor,
    parts: Parts,
    module: Annotated[str | None, Query(max_length=64)] = None,
    node: Annotated[str | None, Query(max_length=64)] = None,
    severity: Literal["info", "alarm"] | None = None,
    since: Annotated[float, Query(ge=0, description="Seconds since 1970")] = 0,
    limit: Limit = 100,
) -> Log:
    """What the daemons noted, of all nodes in the order of time; the last `limit`."""
    snapshot = parts.watch.now()
    found = [
        LogEntry.model_validate(e)
        for e in parts.watch.entries
        if (module is None or e["module"] == module)
        and (node is None or e["node"] == node)
        and (severity is None or e["severity"] == severity)
        and float(e["at"]) > since
    ]
    missing = [n.node for n in snapshot.nodes if not n.reachable]
    return Log(entries=found[-limit:], missing=missing)


@router.get(
    "/events",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Server-sent events: `state` with the object of GET /modules, at once "
            "and whenever it changes",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        }
    },
)
async def events(
    who: Monitor, parts: Parts, once: Annotated[bool, Query(description="End after one")] = False
) -> StreamingResponse:
    """States as they change, until the session or the token ends."""
    if _streams.open >= STREAMS_MAX:
        raise Busy("too many event streams are open", "Close one, or ask GET /modules.")
    return StreamingResponse(
        _stream(parts, who, once),
        media_type="text/event-stream",
        headers={"x-accel-buffering": "no"},
    )


class _Streams:
    open = 0


_streams = _Streams()


async def _stream(parts: Services, who: Who, once: bool) -> AsyncIterator[bytes]:
    _streams.open += 1
    try:
        with parts.watch.watching():
            version = -1
            while _is_valid(parts, who):
                if not await parts.watch.wait_change(version, STILL_ALIVE_EVERY_S):
                    yield b": still here\n\n"
                    continue
                version, snapshot = parts.watch.version, parts.watch.snapshot
                answer = ModuleList(
                    here=snapshot.here,
                    modules=[module_shown(w, snapshot) for w in wholes(snapshot)],
                )
                yield f"event: state\nid: {version}\ndata: {answer.model_dump_json()}\n\n".encode()
                if once:
                    return
                await asyncio.sleep(STREAM_EVERY_S)
    finally:
        _streams.open -= 1


def _is_valid(parts: Services, who: Who) -> bool:
    if who.token is None:
        return parts.people.still(who) is not None
    return parts.people.users().token(who.token) is not None
