"""The commands of the local socket, `twofoldd.sock`: what the CLI asks and the daemon answers.

Frame: `twofold.wire.lines`. Without `nodes` the answer is this node's, as fields of the reply:
`{"id": 1, "ok": true, "modules": [...]}`. With `nodes` (`["*"]` or names) the reply is
`{"id": 1, "ok": true, "answers": [...]}`, one object for each node, in the order of cluster.toml:
the node's own fields plus `"node"` and `"reachable": true`; or `{"node", "reachable": false,
"error"}` when it cannot be asked; or `{"node", "reachable": true, "error"}` when it refused.

| command | fields | answer |
| --- | --- | --- |
| `state` | `module` (all when absent) | `modules`: one object each, as in interfaces.md |
| `start` `stop` `restart` `second` | `module` | `sentence`; returns when accepted |
| `prim` | `module`, `force` | the same; refused on stale data unless `force` |
| `swap` | `module` | the same |
| `rescue_list` `rescue_show` | `module`, `rescue`, `limit` | `rescues`; `rescue` with `names` |
| `rescue_extract` | `module`, `rescue`, `into`, `with_current` | `extracted`: what was made |
| `rescue_delete` | `module`, `rescue` | `deleted` |
| `verify` `verify_stop` `verify_result` | `module`, `repair` | `verify`: see interfaces.md |
| `switch` | `module`, `what`, `on`, `name` | `sentence`, `switched`: see daemon/switches.py |
| `resources` | `module` (all when absent) | `modules`: see daemon/resources.py |
| `estimate` | `module` | `estimate`: what a resync would look at, see interfaces.md |
| `resync` | `module` | `begins`: `now` or `later`; everything is compared |
| `why` | `module`, `limit` | `decisions`: [{`at`, `state`, `event`, `then`, `sentence`}] |
| `log` | `module`, `limit`, `since` | `entries`: [{`id`, `at`, `module`, `severity`, `sentence`}] |
| `snapshot` | `item` | `items`; `text`, `removed`, `cut`: see wire/snapshot.py |
| `reload` | | configuration is read again |
| `cluster_state` `cluster_leave` `cluster_remove` | `node`, `force` | see daemon/configuration.py |
| `module_add` `module_apply` `module_list` `module_show` `module_remove` | | the same |
| `config_check` `config_apply` `config_history` `config_show` | `target` | see interfaces.md |
| `config_diff` `config_rollback` `config_drift` | `target` | the same |

An action only starts something: who wants to see its end follows `state` and `log` (`since` is the
last entry's `id`). `at` is in seconds since 1970.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twofold.errors import CommandRefused, TwofoldError
from twofold.wire.lines import error_object

# To check or apply a configuration, or remove a module: the nodes are asked one after the other.
APPLY_TIMEOUT_S = 60.0

SOCKET_NAME = "twofoldd.sock"
ALL_NODES = "*"
BETWEEN_NODES = "peer_"  # commands with this beginning come over the control channel only


def target_nodes(body: Mapping[str, Any], known: Sequence[str]) -> list[str] | None:
    """The nodes that a request names, in the cluster's order; None when it names none."""
    wanted: object = body.get("nodes")
    if wanted is None:
        return None
    if not isinstance(wanted, list) or not all(isinstance(n, str) for n in wanted):  # pyright: ignore[reportUnknownVariableType]
        raise CommandRefused("nodes must be a list of names", 'Use "*" for all nodes.')
    names: list[str] = [str(n) for n in wanted]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if ALL_NODES in names:
        return list(known)
    for name in names:
        if name not in known:
            raise CommandRefused(
                f"there is no node {name!r} in this cluster", f"Its nodes are {', '.join(known)}."
            )
    return [n for n in known if n in names]


def answer_of(node: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    return {**answer, "node": node, "reachable": True}


def failure_of(node: str, error: TwofoldError, reachable: bool) -> dict[str, Any]:
    return {"node": node, "reachable": reachable, "error": error_object(error)}
