"""`twofold mirror verify`: do the two copies differ, and in what?"""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from twofold.cli.output import EXIT_NOT_REACHED, print_json
from twofold.cli.quantities import duration_text, size_text
from twofold.cli.session import AsJson, ModuleName, OnNodes, Session
from twofold.client import Client

POLL_S = 0.3
EXIT_DIFFERS = 1
Object = Mapping[str, Any]


def verify(
    context: typer.Context,
    module: ModuleName,
    repair: Annotated[
        bool, typer.Option("--repair", help="Copy what differs from the primary at once.")
    ] = False,
    stop: Annotated[bool, typer.Option("--stop", help="End the one that runs.")] = False,
    last: Annotated[bool, typer.Option("--last", help="Only show the last result.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Only follow the one that runs.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait/--no-wait", help="Follow it to its end.")] = True,
    on: OnNodes = None,
    as_json: AsJson = False,
) -> None:
    """Compare both copies by checksum while MODULE runs; tell which files differ, and how.

    Exit code 0: nothing differs, or all of it was repaired; 1: something differs; 14: it was cut
    short, so the rest is not known.

    Example: twofold mirror verify mariadb --repair
    """
    session = Session.of(context, on, as_json)
    awaited = wait and not stop and not last
    with Client() as client:
        command = "verify_stop" if stop else "verify_result" if last or follow else "verify"
        answer = session.ask(client, command, module=module, repair=repair)[0]
        if awaited:
            answer = _followed(client, session, module, answer)
    result: Object | None = answer.get("verify")
    if session.as_json:
        print_json(result)
    else:
        print(report(module, result))
    if result and result["state"] == "done" and _left(result):
        raise typer.Exit(EXIT_DIFFERS)
    if awaited and (result is None or result["state"] != "done"):
        raise typer.Exit(EXIT_NOT_REACHED)


def _followed(client: Client, session: Session, module: str, answer: Object) -> Object:
    shown = not session.as_json and sys.stdout.isatty()
    while answer.get("verify") and answer["verify"]["state"] == "running":
        if shown:
            print(f"\r\033[K{module}: {_progress(answer['verify'])}", end="", flush=True)
        time.sleep(POLL_S)
        answer = session.ask(client, "verify_result", module=module)[0]
    if shown:
        print("\r\033[K", end="")
    return answer


def _left(result: Object) -> bool:
    unrepaired = [d for d in result["differences"] if not d["repaired"]]
    return bool(unrepaired) or int(result["differing"]) > len(result["differences"])


def _progress(result: Object) -> str:
    parts = [f"{result['files']} files", size_text(result["bytes"])]
    if result["seconds"] > 0.5:
        parts.append(f"{size_text(result['bytes'] / result['seconds'])}/s")
    parts.append(f"{result['differing']} differ" if result["differing"] else "no difference")
    return " · ".join(parts)


def summary(result: Object) -> str:
    """One line, also for `twofold state`."""
    if result["state"] == "running":
        return f"running: {_progress(result)}"
    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(float(result["begun_at_s"])))
    cut = f", cut short ({result['why']})" if result["state"] != "done" else ""
    repaired = sum(1 for d in result["differences"] if d["repaired"])
    mended = f", {repaired} repaired" if repaired else ""
    duration = duration_text(result["seconds"])
    return f"{when}, {duration}: {_progress(result)}{mended}{cut}"


def report(module: str, result: Object | None) -> str:
    if result is None:
        return f"The copies of {module} were not compared yet."
    lines = [f"{module}: {summary(result)}"]
    for found in result["differences"]:
        zones = ", ".join(f"{offset}+{length}" for offset, length in found["zones"])
        where = f" (bytes {zones})" if zones else ""
        mended = "  repaired" if found["repaired"] else ""
        path = found["path"] or "."
        tree = f"[{found['tree']}] " if found["tree"] else ""
        lines.append(f"  {tree}{path}: {', '.join(found['what'])}{where}{mended}")
    more = int(result["differing"]) - len(result["differences"])
    if more > 0:
        lines.append(f"  and {more} more")
    if _left(result) and result["state"] == "done":
        lines.append(
            "Where --repair is refused or not enough, a resync mends it: stop and start MODULE on "
            "the secondary."
            if result["repair"]
            else f"Copy them from the primary: twofold mirror verify {module} --repair"
        )
    return "\n".join(lines)
