"""`why`, `log`, `events`: what was decided and what happened, on one node or all, by time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Annotated, Any

import typer

from twofold.cli.follow import print_entry
from twofold.cli.output import print_error, print_json
from twofold.cli.session import AnyModule, AsJson, ModuleName, OnNodes, Session
from twofold.client import Client
from twofold.errors import NodeUnreachable
from twofold.wire.lines import error_from

Lines = Annotated[int, typer.Option("-n", "--lines", min=1, max=10000, help="How many at most.")]
Follow = Annotated[bool, typer.Option("-f", "--follow", help="Go on with what comes.")]
Since = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help='Such as 10min, or "2026-01-31 12:00".'),
]
FOLLOW_S = 0.5


def add_to(app: typer.Typer) -> None:
    app.command("why")(why)
    app.command("log")(log)
    app.command("events")(events)


def why(
    context: typer.Context,
    module: ModuleName,
    lines: Lines = 10,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Each decision about MODULE, and its reason in one sentence.

    Example: twofold why mariadb -H '*'
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        answers = session.ask(client, "why", module=module, limit=lines)

    def show(answer: dict[str, Any]) -> None:
        for decision in answer["decisions"]:
            at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(decision["at"])))
            node = f"{answer['node']}  " if "node" in answer else ""
            step = decision["state"]
            if decision.get("then") not in (None, "", step):
                step += f" → {decision['then']}"
            print(f"{at}  {node}{step:<16} {decision['sentence']}")
        if not answer["decisions"]:
            print(f"Nothing was decided about {module} yet.")
        if answer.get("sentence"):
            print(f"Now: {answer['sentence']} {answer.get('next', '')}")

    session.show(answers, show)


def log(
    context: typer.Context,
    module: AnyModule = None,
    lines: Lines = 30,
    follow: Follow = False,
    since: Since = None,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """What happened: of MODULE or of all; -H '*' merges both nodes by time.

    Example: twofold log mariadb -H '*' --since 10min -f
    """
    session = Session.of(context, on, as_json)
    _show(session, _fields(module, since, None), lines, follow, _print)


def events(
    context: typer.Context,
    module: AnyModule = None,
    lines: Lines = 30,
    follow: Follow = False,
    since: Since = None,
    alarms: Annotated[bool, typer.Option("--alarms", help="Alarms only.")] = False,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Events with their stable identifiers, for scripts: docs/reference/events.md lists them.

    With --follow --json each event is one line.

    Example: twofold events -H '*' --alarms --follow --json
    """
    session = Session.of(context, on, as_json)
    _show(session, _fields(module, since, "alarm" if alarms else None), lines, follow, _print_event)


def _fields(module: str | None, since: str | None, severity: str | None) -> dict[str, Any]:
    fields: dict[str, Any] = {} if module is None else {"module": module}
    if since is not None:
        fields["after_s"] = moment_s(since, time.time())
    return fields if severity is None else {**fields, "severity": severity}


def moment_s(text: str, now_s: float) -> float:
    """Seconds since 1970 of "10min" (ago), "12:30" (today) or "2026-01-31 12:30"."""
    from twofold.config.units import parse_duration_s
    from twofold.errors import OperatorError

    today = time.strftime("%Y-%m-%d ", time.localtime(now_s))
    for form in ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"):
        for candidate in (text, today + text):
            try:
                return time.mktime(time.strptime(candidate, form))
            except (ValueError, OverflowError):
                continue
    try:
        return now_s - parse_duration_s(text)
    except ValueError:
        raise OperatorError(
            f"--since: {text!r} is no time", 'Write 10min, 2h, 12:30 or "2026-01-31 12:30".'
        ) from None


def _show(
    session: Session,
    fields: dict[str, Any],
    lines: int,
    follow: bool,
    shown: Callable[[list[dict[str, Any]]], None],
) -> None:
    tell = _print_lines if session.as_json else shown
    silent: set[str] = set()
    with Client() as client:
        entries = _entries(session, client, {**fields, "limit": lines}, silent)[-lines:]
        if session.as_json and not follow:
            print_json(entries)
            return
        tell(entries)
        if not entries and not follow:
            about = f" of module {fields['module']}" if "module" in fields else ""
            typer.echo(f"Nothing is noted{about}.", err=True)
        last = _last_of_each(entries)
        while follow:
            time.sleep(FOLLOW_S)
            since = min(last.values(), default=0)
            new = _entries(session, client, {**fields, "limit": 500, "since": since}, silent)
            new = [e for e in new if int(e["id"]) > last.get(str(e["node"]), 0)]
            tell(new)
            last |= _last_of_each(new)


def _print_lines(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        print(json.dumps(entry, ensure_ascii=False), flush=True)


def _print_event(entries: list[dict[str, Any]]) -> None:
    for e in entries:
        at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(e["at"])))
        where = " ".join(t for t in (str(e["node"]), str(e.get("module") or "-")) if t)
        print(f"{at}  {where:<16} {e['severity']:<5} {e.get('code', ''):<24} {e['sentence']}")


def _entries(
    session: Session, client: Client, fields: dict[str, Any], silent: set[str]
) -> list[dict[str, Any]]:
    """`silent`: the nodes that did not answer at the last look; each is told of once."""
    found: list[dict[str, Any]] = []
    for answer in session.ask(client, "log", **fields):
        node = str(answer.get("node", ""))
        if "error" in answer:
            error = error_from(answer["error"])
            if not isinstance(error, NodeUnreachable):
                raise error
            if node not in silent:
                print_error(error, False)
            silent.add(node)
        else:
            silent.discard(node)
        found += [{"node": answer.get("node", ""), **e} for e in answer.get("entries", [])]
    return sorted(found, key=lambda e: float(e["at"]))


def _last_of_each(entries: list[dict[str, Any]]) -> dict[str, int]:
    last: dict[str, int] = {}
    for entry in entries:
        node = str(entry["node"])
        last[node] = max(last.get(node, 0), int(entry["id"]))
    return last


def _print(entries: list[dict[str, Any]]) -> None:
    for entry in entries:
        module = f"{entry['module']}: " if entry.get("module") else ""
        print_entry(str(entry["node"]), {**entry, "sentence": f"{module}{entry.get('sentence')}"})
