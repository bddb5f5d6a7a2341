"""The snapshot for somebody who helps, as a download."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from twofold.errors import CommandRefused, NotThere
from twofold.web.access import Admin, Parts
from twofold.web.collecting import collected
from twofold.wire.archive import SUFFIX, TOP

router = APIRouter(tags=["cluster"])


@router.get(
    "/snapshot",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "A tar.gz that comes while it is collected; MISSING.txt in it says "
            "what could not be had",
            "content": {"application/gzip": {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def snapshot(
    who: Admin,
    parts: Parts,
    node: Annotated[
        list[Annotated[str, Query(max_length=64)]] | None,
        Query(max_length=16, description="Of these nodes; null: of all"),
    ] = None,
) -> StreamingResponse:
    """Configuration, states, decisions, logs and facts of all nodes, with secrets removed.

    Takes seconds, with a silent node up to minutes. One at a time: 429 while another is collected.
    """
    seen = parts.watch.now()
    known = [n.node for n in seen.nodes]
    if not known:
        error = seen.error or {}
        raise CommandRefused(str(error.get("text") or "this machine is part of no cluster yet"))
    for name in node or ():
        if name not in known:
            raise NotThere(f"there is no node {name!r} in this cluster")
    body = collected(parts, who, list(dict.fromkeys(node or known)))
    first = await anext(body)

    async def whole() -> AsyncIterator[bytes]:
        yield first
        async for more in body:
            yield more

    name = time.strftime(f"{TOP}-%Y%m%d-%H%M%S{SUFFIX}")
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(whole(), media_type="application/gzip", headers=headers)
