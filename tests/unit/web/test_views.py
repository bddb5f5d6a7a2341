"""What the console shows, without a browser: cards, log, charts, cluster, configuration."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from tests.unit.web.site import cluster_state, module_object, site
from twofold.web import confirm
from twofold.web.console import drawing
from twofold.web.console.views import cluster, words
from twofold.web.console.views.card import Card, card
from twofold.web.console.views.charts import SPAN_S, bands, charts
from twofold.web.console.views.configuration import diff_lines, fields, opinion
from twofold.web.console.views.log import Filter, lines
from twofold.web.history import Change, History
from twofold.web.watch import NodeSeen, Object, Snapshot

NOW = 1_000_000.0


def snapshot(a: Object | None, b: Object | None) -> Snapshot:
    """Two nodes; None: it does not answer."""
    seen = [
        NodeSeen(n, True, None, (m,), cluster_state(n), NOW)
        if m
        else NodeSeen(n, False, {"text": f"node {n} did not answer", "mend": "Is it on?"})
        for n, m in (("a", a), ("b", b))
    ]
    return Snapshot("a", cluster_state("a"), tuple(seen))


def shown(a: Object | None, b: Object | None, entries: list[Object] | None = None) -> Card:
    return card(snapshot(a, b), "files", History(), entries or [], NOW)


def test_a_whole_pair_is_protected_and_the_arrow_goes_to_the_second() -> None:
    found = shown(module_object("a", "PRIM"), module_object("b", "SECOND"))
    assert (found.badge, found.tone, found.arrow, found.arrow_tone) == (
        "Protected", "good", "right", "good",
    )  # fmt: skip
    assert found.sentence == "a serves, and b has everything: either may fail."
    assert found.address == "10.77.0.100 on a"
    other = shown(module_object("a", "SECOND"), module_object("b", "PRIM"))
    assert (other.arrow, other.address) == ("left", "10.77.0.100 on b")


def test_a_dead_node_is_shown_as_dead_and_hides_nothing() -> None:
    alone = module_object("a", "ALONE", sentence="Serving alone.", next="See that b runs.")
    found = shown(alone, None)
    assert (found.badge, found.tone, found.arrow) == ("Not protected", "warn", "broken")
    assert (found.boxes[1].state, found.boxes[1].word) == ("", "no answer")
    assert found.advice == "See that b runs."
    html = drawing.cards((found,))
    assert "OFF" in html
    assert "node b did not answer" in html


def test_a_node_that_the_module_does_not_live_on_is_not_on_its_card() -> None:
    found = snapshot(module_object("a", "PRIM"), module_object("b", "SECOND"))
    homes = {**found.cluster, "homes": {"files": ["a", "b"]}}
    third = Snapshot("a", homes, (*found.nodes, NodeSeen("c", True, None, (), homes, NOW)))
    assert [b.node for b in card(third, "files", History(), [], NOW).boxes] == ["a", "b"]


def test_a_mirror_whose_other_node_was_removed_is_not_protected() -> None:
    alone = module_object("a", "ALONE", sentence="Serving alone.")
    one = Snapshot("a", cluster_state("a"), snapshot(alone, None).nodes[:1])
    found = card(one, "files", History(), [], NOW)
    assert (found.badge, found.tone) == ("Not protected", "warn")


def test_a_sentence_that_names_its_node_does_not_name_it_twice() -> None:
    found = shown(module_object("a", "ALONE", sentence="A is starting to serve."), None)
    assert found.sentence == "a is starting to serve."


async def test_two_looks_at_once_bring_an_entry_once(tmp_path: Path) -> None:
    async with site(tmp_path) as on:
        entry = {"id": 1, "at": NOW, "module": "files", "severity": "info", "sentence": "x"}
        on.daemon.entries["a"].append(entry)
        await asyncio.gather(on.services.watch.look_again(), on.services.watch.look_again())
        assert [e["sentence"] for e in on.services.watch.entries] == ["x"]


def test_two_that_serve_are_the_worst_and_said_first() -> None:
    found = shown(module_object("a", "ALONE"), module_object("b", "ALONE"))
    assert (found.badge, found.tone) == ("Both serve", "bad")
    assert "a and b both serve" in found.sentence
    assert found.advice


def test_a_copy_that_runs_has_a_bar_and_a_time_left() -> None:
    resync = {
        "as": "source", "bytes_done": 250, "bytes_total": 1000, "bytes_per_s": 2e6,
        "seconds_left": 90,
    }  # fmt: skip
    a = module_object("a", "ALONE", resync=resync)
    found = shown(a, module_object("b", "SECOND", readiness="Transient"))
    assert found.badge == "Copying"
    assert found.progress is not None
    assert found.progress.percent == 25.0
    assert found.progress.text == "25 % of 1.0 kB, 2.0 MB/s, 2 min left"


def test_what_comes_from_outside_is_text() -> None:
    evil = "<script>alert(1)</script>"
    a = module_object("a", "PRIM", sentence=evil, next=evil)
    b = module_object("b", "WAIT", sentence=evil)
    entry = {"at": NOW, "node": "a", "module": "files", "severity": "alarm", "sentence": evil}
    found = shown(a, b, [entry])
    text = drawing.cards((found,)) + drawing.log(lines([entry], Filter()))
    assert "<script" not in text
    assert "&lt;script" in text


def test_the_log_is_newest_first_and_filtered() -> None:
    entries: list[Object] = [
        {"at": NOW + i, "node": n, "module": m, "severity": s, "sentence": f"event {i}",
         "state": "WAIT", "then": "PRIM"}
        for i, (n, m, s) in enumerate(
            (("a", "files", "info"), ("b", "files", "alarm"), ("b", "", "info"))
        )
    ]  # fmt: skip
    assert [line.sentence for line in lines(entries, Filter())] == ["event 2", "event 1", "event 0"]
    assert [line.alarm for line in lines(entries, Filter(severity="alarm"))] == [True]
    assert [line.sentence for line in lines(entries, Filter(node="b", text="EVENT 2"))] == [
        "event 2"
    ]
    assert lines(entries, Filter())[0].moved == "WAIT → PRIM"


def test_rates_are_made_of_two_looks_and_begin_anew_with_the_engine() -> None:
    history = History()
    for second, sent in ((0, 0), (1, 5000), (2, 15_000), (3, 10)):
        module = module_object("a", "PRIM", traffic={"bytes_sent": sent, "operations_sent": sent})
        history.add("a", [module], NOW + second)
    assert [p.bytes_per_s for p in history.points("a", "files")] == [5000.0, 10_000.0]
    rates = charts(history.points("a", "files"), NOW + 3)[0]
    assert (rates.latest, rates.top) == ("10.0 kB/s", "10.0 kB/s")
    assert rates.path.endswith("0.0")
    assert charts((), NOW)[0].path == ""


def test_states_are_bands_of_time() -> None:
    changes = (Change(NOW - 2 * SPAN_S, "STOP", ""), Change(NOW - SPAN_S / 4, "PRIM", "Ready"))
    assert [(b.state, b.left, b.width) for b in bands(changes, NOW)] == [
        ("STOP", 0.0, 75.0),
        ("PRIM", 75.0, 25.0),
    ]


def test_the_cluster_names_a_silent_network() -> None:
    peer = {"node": "b", "heard": True, "networks": {"lan": False}}
    seen = snapshot(module_object("a", "PRIM", peer=peer), module_object("b", "SECOND"))
    assert cluster.networks(seen)[0].heard == (("a hears b", False), ("b hears a", True))
    assert cluster.nodes(seen, 9010)[1].console == "https://10.77.0.2:9010"


def test_who_rules_is_told_with_how_it_is_now() -> None:
    lost = {"kind": "witness", "heard": False, "text": "w1 did not answer in time"}
    well = {"kind": "witness", "heard": True, "text": "it answers"}
    seen = snapshot(
        module_object("a", "PRIM", arbitration=well), module_object("b", "SECOND", arbitration=lost)
    )
    good, bad = cluster.rulings(seen)
    assert (good.heard, good.text) == (True, "seen from a: can rule")
    assert (bad.heard, "w1 did not answer" in bad.text) == (False, True)
    nobody = {"kind": "none", "heard": None, "text": ""}
    both = [module_object(n, "PRIM", arbitration=nobody) for n in "ab"]
    assert [r.who for r in cluster.rulings(snapshot(*both))] == ["nobody"]
    answer = {"witnesses": [{"name": "w1", "kind": "twofold", "address": "x:1"}], "ping": ["y"]}
    assert [(a.name, a.kind) for a in cluster.arbiters(answer)] == [
        ("w1", "witness"),
        ("y", "ping address"),
    ]


def test_a_consequence_is_told_as_things_are() -> None:
    whole = snapshot(module_object("a", "PRIM"), module_object("b", "SECOND"))
    lonely = snapshot(module_object("a", "ALONE"), None)
    stop = confirm.consequence(whole, "files", "stop", "a")
    assert ("b takes over" in stop.text, stop.dangerous) == (True, False)
    assert confirm.consequence(lonely, "files", "stop", "a").dangerous
    assert confirm.consequence(whole, "files", "prim", "b", force=True).dangerous
    assert not confirm.consequence(whole, "files", "start", "a").interrupts


def test_a_change_is_told_before_it_is_applied() -> None:
    effects = [
        {"node": n, "key": "k", "when": w, "text": x}
        for n in "ab"
        for w, x in (("next_start", "y"), ("now", "x"))
    ]
    answer: dict[str, Any] = {"problems": ["module.toml line 3, column 1: no"], "effects": effects}
    found = opinion(answer)
    assert [texts for _, texts in found.effects] == [("x",), ("y",)]  # once, the soonest first
    assert not found.good
    assert (found.problems[0].line, found.problems[0].text) == (3, "no")
    kinds = [k for k, _ in diff_lines([{"lines": "--- a\n+++ b\n-old\n+new\n same\n"}])]
    assert kinds == ["head", "removed", "added", "same"]


def test_a_module_of_the_library_is_a_form_that_asks_first_for_what_must_be_given() -> None:
    found = fields({"port": ("80", "where"), "address": (None, "the address")})
    assert [(f.name, f.value, f.needed) for f in found] == [
        ("address", "", True),
        ("port", "80", False),
    ]


def test_quantities_are_for_people() -> None:
    assert [words.size(n) for n in (0, 999, 1500, 2e9)] == ["0 B", "999 B", "1.5 kB", "2.0 GB"]
    assert [words.duration(s) for s in (1, 42, 130, 7300, 200_000)] == [
        "just now", "40 s", "2 min", "2 h", "2 days",
    ]  # fmt: skip
