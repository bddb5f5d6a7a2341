"""The states of modules on this node and on the others: what module checkers ask about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from twofold.config.load import NodeConfig
from twofold.config.schema_checkers import ANYWHERE, HERE
from twofold.errors import TwofoldError
from twofold.ports import ControlPort

StateOf = Callable[[str], str]


class Neighbours:
    """`state_of` is this node's; the others are asked over the control channel."""

    def __init__(self, state_of: StateOf, control: Callable[[], ControlPort]) -> None:
        self._state_of = state_of
        self._control = control

    async def states(
        self, node: NodeConfig, module: str, where: str, bound_s: float
    ) -> Mapping[str, str]:
        """node -> state of `module` there, for each that `where` means and that answers."""
        names = {HERE: [node.name], ANYWHERE: [n.name for n in node.cluster.nodes]}
        asked = names.get(where, [where])
        states = await asyncio.gather(*(self._state(node, n, module, bound_s) for n in asked))
        return {n: state for n, state in zip(asked, states, strict=True) if state is not None}

    async def _state(self, node: NodeConfig, name: str, module: str, bound_s: float) -> str | None:
        if name == node.name:
            return self._state_of(module)
        body: dict[str, Any] = {"command": "peer_module_state", "module": module}
        try:
            answer = await self._control().request(name, body, bound_s)
        except TwofoldError:
            return None
        return str(answer.get("state"))
