"""/metrics, and the dashboard that reads it: every name it asks for exists."""

from __future__ import annotations

import json
import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.unit.web.site import site

ROOT = Path(__file__).resolve().parents[3]


async def test_the_dashboard_asks_for_what_there_is(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client("monitor") as client:
        resync = {"as": "source", "bytes_done": 5, "bytes_total": 10}
        on.daemon.states["a"] = {**on.daemon.states["a"], "resync": resync}
        await on.services.watch.look_again()
        text = (await client.get("/metrics")).text
    names = {s.name for f in text_string_to_metric_families(text) for s in f.samples}
    dashboard = json.loads((ROOT / "packaging/grafana/twofold.json").read_text())
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"twofold_\w+", target["expr"])
    }
    assert asked
    assert asked <= names


async def test_values_are_those_of_the_nodes(tmp_path: Path) -> None:
    async with site(tmp_path) as on, on.client("monitor") as client:
        on.daemon.silent.add("b")
        await on.services.watch.look_again()
        text = (await client.get("/metrics")).text
    assert 'twofold_node_up{node="b"} 0.0' in text
    assert 'twofold_module_serving{module="files",node="a"} 1.0' in text
    assert 'twofold_module_health{health="degraded",module="files"} 1.0' in text
