"""The picture that `twofold state` shows: each module a frame, its nodes side by side.

Between the nodes an arrow shows the direction of replication. Colour is never the only carrier of
a meaning: the words are there too.
"""

from __future__ import annotations

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.padding import Padding
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from twofold.cli.progress_line import resync_text
from twofold.cli.quantities import duration_text
from twofold.cli.verification import summary

Object = dict[str, Any]

COLOURS = {
    "PRIM": "bold green",
    "ALONE": "bold yellow",
    "UP": "bold green",
    "SECOND": "bold cyan",
    "WAIT": "bold magenta",
    "STOP": "bold bright_black",
}
SERVING = ("PRIM", "ALONE", "UP")
PANEL_WIDTH_MAX = 110


def print_states(console: Console, objects: list[Object], verbose: bool = False) -> None:
    shown = panels(objects, verbose)
    if not shown:
        console.print(
            "No module yet. Add one: [bold]twofold module library[/] lists what is there."
        )
    for panel in shown:
        console.print(panel, width=min(console.width, PANEL_WIDTH_MAX))


def panels(objects: list[Object], verbose: bool = False) -> list[Panel]:
    names = sorted({str(o["module"]) for o in objects if o.get("module")})
    lost = [o for o in objects if "error" in o]
    shown: list[Panel] = []
    for name in names:
        own = [o for o in objects if o.get("module") == name]
        homes = next((o["nodes"] for o in own if o.get("nodes")), None)
        shown.append(_panel(name, own + _lost(lost, name, homes), verbose))
    return shown


def _lost(lost: list[Object], name: str, homes: list[str] | None) -> list[Object]:
    """A node that does not answer is part of the picture of each module that lives on it."""
    return [
        {**o, "module": name}
        for o in lost
        if o.get("module") != name and (homes is None or o.get("node") in homes)
    ]


def _panel(name: str, nodes: list[Object], verbose: bool) -> Panel:
    nodes = sorted(nodes, key=lambda o: str(o.get("node")))
    known = [o for o in nodes if "error" not in o]
    parts: list[RenderableType] = [_side_by_side(nodes)]
    copying = [o for o in known if o.get("resync")]
    if copying:  # both nodes tell of the same copy; the one that has sent it knows its size best
        parts.append(_resync(max(copying, key=lambda o: o["resync"].get("as") == "source")))
    parts += _verifications(known, verbose)
    parts += _nexts(nodes)
    serving = next((o for o in known if o.get("state") in SERVING), None)
    title = f"[bold]{escape(name)}[/] · {known[0].get('kind', '?') if known else '?'}"
    return Panel(
        Group(*parts),
        title=title,
        subtitle=_address_line(known, serving),
        title_align="left",
        subtitle_align="left",
        border_style=_border(known, serving),
        padding=(0, 1),
    )


def _border(known: list[Object], serving: Object | None) -> str:
    if serving is None:
        return "bright_black" if all(o.get("state") == "STOP" for o in known) else "red"
    return "green" if serving.get("state") in ("PRIM", "UP") else "yellow"


def _address_line(known: list[Object], serving: Object | None) -> str:
    every = {str(a["ip"]): None for o in known for a in o.get("addresses", ())}
    held = {str(a["ip"]): o["node"] for o in known for a in o.get("addresses", ()) if a.get("held")}
    texts = [f"{ip} on {held[ip]}" if ip in held else f"{ip} on no node" for ip in every]
    epoch = f" · epoch {serving['epoch']}" if serving and serving.get("epoch") else ""
    return escape(", ".join(texts) + epoch) if texts or epoch else ""


def _side_by_side(nodes: list[Object]) -> Table:
    grid = Table.grid(padding=(0, 1), expand=True)
    for i, _ in enumerate(nodes):
        if i:
            grid.add_column(width=4, justify="center")
        grid.add_column(ratio=1)
    heads: list[RenderableType] = []
    bodies: list[RenderableType] = []
    for i, node in enumerate(nodes):
        if i:
            heads.append(_arrow(nodes[i - 1], node))
            bodies.append("")
        heads.append(_head(node))
        bodies.append(_body(node))
    grid.add_row(*heads)
    grid.add_row(*bodies)
    return grid


def _arrow(left: Object, right: Object) -> Text:
    if "light" in (left.get("kind"), right.get("kind")):
        return Text("   ")  # each node runs it for itself
    pair = (left.get("state") in SERVING, right.get("state") in SERVING)
    if pair == (True, False) and right.get("state") == "SECOND":
        return Text("━━▶", "green" if right.get("readiness") == "Ready" else "yellow")
    if pair == (False, True) and left.get("state") == "SECOND":
        return Text("◀━━", "green" if left.get("readiness") == "Ready" else "yellow")
    if pair == (True, True):
        return Text("━✗━", "bold red")
    return Text(" · ", "bright_black")


def _head(node: Object) -> Text:
    text = Text(f"{node.get('node')} ", "bold")
    if "error" in node:
        return text.append("no answer", "bold red")
    state = str(node.get("state"))
    text.append(f"● {state}", COLOURS.get(state, "bold"))
    text.append(f" {node.get('readiness', '')}", _readiness_colour(node))
    since = node.get("since_s")
    if isinstance(since, int | float):
        text.append(f" · {duration_text(since)}", "bright_black")
    return text


def _readiness_colour(node: Object) -> str:
    return {"Ready": "green", "Transient": "yellow"}.get(str(node.get("readiness")), "bright_black")


def _body(node: Object) -> Text:
    if "error" in node:
        return Text(str(node["error"].get("text", "")), "red")
    text = Text(str(node.get("sentence", "")))
    for service in node.get("services", ()):
        running = bool(service.get("running"))
        pid = f" (pid {service['pid']})" if service.get("pid") else ""
        mark = "✔" if running else "–"
        text.append(f"\n{mark} {service['name']}{pid}", "green" if running else "bright_black")
    # Probes run where the module serves; elsewhere the last verdict is history.
    for checker in node.get("checkers", ()) if node.get("state") in SERVING else ():
        verdict = checker.get("ok")
        if verdict is None:
            continue
        detail = "" if verdict else f": {checker.get('text', 'fails')}"
        detail += " (it comes and goes)" if checker.get("unsteady") else ""
        text.append(f"\n{'✔' if verdict else '✘'} checker {checker['name']}{detail}",
                    "green" if verdict else "bold red")  # fmt: skip
    for line in switched_lines(node.get("switched") or {}):
        text.append(f"\n! {line}", "yellow")
    if node.get("pending_configuration"):
        text.append("\n! a new configuration is used from the next start", "yellow")
    peer: Object = node.get("peer") or {}
    if peer.get("same_configuration") is False:
        text.append("\n! the nodes' configurations differ: twofold config drift", "yellow")
    kept: Object | None = node.get("kept_copy")
    if kept:
        text.append(f"\n{'✔' if kept.get('kept') else '–'} {kept.get('text')}", "bright_black")
    silent = _silent_networks(node)
    if silent:
        text.append(f"\n! no heartbeat on {', '.join(silent)}", "yellow")
    return text


def switched_lines(switched: Object) -> list[str]:
    """What a person must not forget."""
    lines: list[str] = []
    off: list[str] = switched.get("checkers_off") or []
    if off:
        names = "all checkers are" if "*" in off else f"checker {', '.join(off)} is"
        lines.append(f"{names} switched off")
    for what, name in (("failover", "failover"), ("boot", "the start with the machine")):
        if switched.get(what) is not None:
            lines.append(f"{name} is switched {'on' if switched[what] else 'off'}")
    return lines


def _silent_networks(node: Object) -> list[str]:
    peer: Object = node.get("peer") or {}
    networks: Object = peer.get("networks") or {}
    # When none is heard the node's sentence speaks of it already.
    silent = [n for n, heard in networks.items() if not heard]
    return silent if peer.get("heard") else []


def _resync(node: Object) -> RenderableType:
    done, total = node["resync"].get("bytes_done"), node["resync"].get("bytes_total")
    line = Table.grid(padding=(0, 1))
    line.add_column()
    line.add_column(width=30)
    line.add_column()
    figures = resync_text(node["resync"])
    if done is not None and total:
        bar: RenderableType = ProgressBar(total=float(total), completed=float(done), width=30)
    else:
        # Without dirty map the amount is not known before the end of the comparison.
        copying = bool(node["resync"].get("bytes_sent"))
        bar = Text("copying what differs …" if copying else "comparing …", "bright_black")
    line.add_row("resync", bar, figures)
    return Padding(line, (1, 0, 0, 0))


def _verifications(known: list[Object], verbose: bool) -> list[RenderableType]:
    """Of the node that serves: what runs, or has found something; the last one on request."""
    results = [o["verify"] for o in known if o.get("state") in SERVING and o.get("verify")]
    wanted = [r for r in results if verbose or r["state"] == "running" or r["differing"]]
    return [Padding(Text(f"verify {summary(r)}"), (1, 0, 0, 0)) for r in wanted]


def _nexts(nodes: list[Object]) -> list[RenderableType]:
    """What to do next, once for each different advice."""
    advice: dict[str, list[str]] = {}
    for node in nodes:
        text = node.get("next") or node.get("error", {}).get("mend")
        if text and not str(text).startswith("Nothing to do"):
            advice.setdefault(str(text), []).append(str(node.get("node")))
    lines: list[RenderableType] = []
    for text, who in advice.items():
        where = "" if len(who) == len(nodes) else f"{' and '.join(who)}: "
        lines.append(Text.assemble(("→ ", "bold yellow"), (where, "bold"), text))
    return lines
