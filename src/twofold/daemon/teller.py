"""Which node tells people of an event: the one that serves, else the survivor, else by name."""

from __future__ import annotations

from twofold.config.load import NodeConfig
from twofold.daemon.heartbeats import Heartbeats
from twofold.daemon.lifecycle import Lifecycle
from twofold.machine.links import peer_heard, peer_serving
from twofold.machine.model import SERVING


def sender_of(node: NodeConfig, lifecycle: Lifecycle, beats: Heartbeats, module: str) -> str:
    peers = [p.name for p in node.peers if any(beats.networks(p.name).values())]
    running = lifecycle.running.get(module)
    if running is not None:
        view = running.driver.view
        if view.state in SERVING:
            return node.name
        if peer_heard(view) and peer_serving(view):
            return view.settings.peer
    return min([node.name, *peers])
