"""`/metrics`: the shared look in the format of Prometheus. Needs a token of the role monitor.

Each node tells of the whole cluster as it sees it (`seen_by` is left to the scraper's `instance`),
so that alarms still come when a node is dead. Names: `twofold_*`, base units, counters end in
`_total`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from twofold.web.overview import SERVING, whole
from twofold.web.services import Services
from twofold.web.watch import Snapshot

STATES = ("STOP", "WAIT", "ALONE", "PRIM", "SECOND", "UP")
HEALTH = ("good", "degraded", "down", "stopped", "unknown")
MODULE = ("module", "node")


class _Look(Collector):
    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterable[Metric]:
        snapshot = self._services.watch.now()
        yield from _nodes(snapshot)
        yield from _modules(snapshot)
        yield from _traffic(snapshot)
        yield from _checks(snapshot)
        sessions = GaugeMetricFamily("twofold_web_sessions", "People logged in at this node")
        sessions.add_metric([], len(self._services.people.sessions))
        yield sessions
        failures = CounterMetricFamily("twofold_web_login_failures", "Logins that were refused")
        failures.add_metric([], self._services.people.failures)
        yield failures


def _objects(snapshot: Snapshot) -> Iterator[tuple[list[str], dict[str, Any]]]:
    for seen in snapshot.nodes:
        for module in seen.modules:
            yield [str(module["module"]), seen.node], module


def _nodes(snapshot: Snapshot) -> Iterator[Metric]:
    up = GaugeMetricFamily("twofold_node_up", "The node's daemon answers", labels=["node"])
    days = GaugeMetricFamily(
        "twofold_certificate_remaining_seconds", "Until the node's certificate ends",
        labels=["node"],
    )  # fmt: skip
    for seen in snapshot.nodes:
        up.add_metric([seen.node], float(seen.reachable))
        if "certificate_days" in seen.cluster:
            days.add_metric([seen.node], float(seen.cluster["certificate_days"]) * 86400.0)
    yield up
    yield days


def _modules(snapshot: Snapshot) -> Iterator[Metric]:
    state = GaugeMetricFamily(
        "twofold_module_state", "1 for the state that it is in", labels=[*MODULE, "state"]
    )
    serving = GaugeMetricFamily("twofold_module_serving", "The node serves it", labels=MODULE)
    ready = GaugeMetricFamily("twofold_module_ready", "Readiness is Ready", labels=MODULE)
    current = GaugeMetricFamily(
        "twofold_module_up_to_date", "The node's copy is up to date", labels=MODULE
    )
    since = GaugeMetricFamily(
        "twofold_module_state_seconds", "For how long it is in its state", labels=MODULE
    )
    failovers = CounterMetricFamily("twofold_module_failovers", "Take-overs", labels=MODULE)
    for labels, module in _objects(snapshot):
        for each in STATES:
            state.add_metric([*labels, each], float(module["state"] == each))
        serving.add_metric(labels, float(module["state"] in SERVING))
        ready.add_metric(labels, float(module["readiness"] == "Ready"))
        current.add_metric(labels, float(bool(module.get("up_to_date"))))
        since.add_metric(labels, float(module.get("since_s") or 0.0))
        failovers.add_metric(labels, float(module.get("failovers") or 0))
    health = GaugeMetricFamily(
        "twofold_module_health", "1 for how the whole is", labels=["module", "health"]
    )
    for name in snapshot.module_names():
        found = whole(snapshot, name).health
        for each in HEALTH:
            health.add_metric([name, each], float(found == each))
    yield from (state, serving, ready, current, since, failovers, health)


def _traffic(snapshot: Snapshot) -> Iterator[Metric]:
    counters = {
        key: CounterMetricFamily(f"twofold_replication_{key}", text, labels=MODULE)
        for key, text in (
            ("bytes_sent", "Sent to the other node"),
            ("operations_sent", "Sent to the other node"),
            ("bytes_applied", "Received and written"),
            ("operations_applied", "Received and done"),
        )
    }
    pending = GaugeMetricFamily(
        "twofold_replication_pending_operations", "Not acknowledged yet", labels=MODULE
    )
    done = GaugeMetricFamily("twofold_resync_done_bytes", "Looked at so far", labels=MODULE)
    total = GaugeMetricFamily("twofold_resync_bytes", "To look at in all", labels=MODULE)
    for labels, module in _objects(snapshot):
        traffic: dict[str, Any] = module.get("traffic") or {}
        for key, family in counters.items():
            if key in traffic:
                family.add_metric(labels, float(traffic[key]))
        if traffic:
            pending.add_metric(labels, float(traffic.get("pending_operations") or 0))
        resync: dict[str, Any] = module.get("resync") or {}
        if resync.get("bytes_total"):
            done.add_metric(labels, float(resync.get("bytes_done") or 0))
            total.add_metric(labels, float(resync["bytes_total"]))
    yield from (*counters.values(), pending, done, total)


def _checks(snapshot: Snapshot) -> Iterator[Metric]:
    address = GaugeMetricFamily(
        "twofold_address_held", "The node has the virtual address", labels=[*MODULE, "address"]
    )
    checker = GaugeMetricFamily(
        "twofold_checker_ok", "The last verdict", labels=[*MODULE, "checker"]
    )
    heard = GaugeMetricFamily(
        "twofold_heartbeat_heard", "The other node is heard on this network",
        labels=[*MODULE, "network"],
    )  # fmt: skip
    for labels, module in _objects(snapshot):
        for each in module.get("addresses", ()):
            address.add_metric([*labels, str(each["ip"])], float(bool(each.get("held"))))
        for each in module.get("checkers", ()):
            if each.get("ok") is not None:
                checker.add_metric([*labels, str(each["name"])], float(bool(each["ok"])))
        peer: dict[str, Any] = module.get("peer") or {}
        networks: dict[str, bool] = peer.get("networks") or {}
        for network, is_heard in networks.items():
            heard.add_metric([*labels, str(network)], float(bool(is_heard)))
    yield from (address, checker, heard)


def metrics_text(services: Services) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Look(services))
    return generate_latest(registry)
