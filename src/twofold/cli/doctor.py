"""`twofold doctor`: what is wrong with this machine, and the command that mends it."""

from __future__ import annotations

import time
from typing import Any

import typer

from twofold.cli.output import EXIT_MACHINE, console, print_json
from twofold.cli.session import AsJson, Session
from twofold.client import Client, DaemonAbsent
from twofold.config.places import places
from twofold.errors import ConfigError, TwofoldError

CERTIFICATE_DAYS_MIN = 30
KEYS_MEND = "What is missing under /etc/twofold/pki, copy from another node: ca.key, ca.crt."


def add_to(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(context: typer.Context, as_json: AsJson = False) -> None:
    """Check this machine: kernel, FUSE, rights, clock, daemon, configuration.

    Example: twofold doctor --json
    """
    session = Session.of(context, None, as_json)
    findings = [*_machine(), _clock(), *_cluster()]
    if session.as_json:
        print_json(findings)
    else:
        for f in findings:
            mark = "[green]✔[/]" if f["ok"] else "[red]✘[/]"
            console().print(f"{mark} {f['name']}: {f['found']}")
            if not f["ok"] and f["mend"]:
                console().print(f"  → {f['mend']}")
    if not all(f["ok"] for f in findings):
        raise typer.Exit(EXIT_MACHINE)


def _finding(name: str, ok: bool, found: str, mend: str = "") -> dict[str, Any]:
    return {"name": name, "ok": ok, "found": found, "mend": mend}


def _machine() -> list[dict[str, Any]]:
    from twofold.requirements import RUN, judge, probe

    return [_finding(f.name, f.ok, f.found, f.mend) for f in judge(probe(str(places().var)), RUN)]


def _clock() -> dict[str, Any]:
    """Nothing is decided by clocks; certificates and logs are read by them."""
    good = time.time() > 1_700_000_000
    now = time.strftime("%Y-%m-%d %H:%M:%S %Z")
    return _finding("clock", good, now, "Set it: timedatectl set-ntp true")


def _cluster() -> list[dict[str, Any]]:
    from twofold.config.load import load_modules, load_node

    etc = places().etc
    try:
        node = load_node(etc)
        modules = load_modules(etc)
    except ConfigError as e:
        return [_finding("configuration", False, e.sentence, e.mend)]
    if node is None:
        mend = "Make one with: twofold cluster init --address ADDRESS"
        return [_finding("cluster", False, "this machine is in none yet", mend)]
    findings = [
        _finding("configuration", True, f"node {node.name}, {len(modules)} modules"),
        _certificate(node.pki),
    ]
    try:
        with Client(timeout_s=5.0) as client:
            answers = client.ask_nodes(["*"], "cluster_state", timeout_s=2.0)
    except DaemonAbsent as e:
        return [*findings, _finding("twofoldd", False, e.sentence, e.mend)]
    except TwofoldError as e:
        return [*findings, _finding("twofoldd", False, str(e))]
    findings.append(_finding("twofoldd", True, "answers"))
    for answer in answers:
        if "error" in answer:
            error = answer["error"]
            findings.append(_finding(f"node {answer['node']}", False, error["text"], error["mend"]))
        elif answer.get("certificate_trouble"):
            name, found = f"certificate of {answer['node']}", answer["certificate_trouble"]
            findings.append(_finding(name, False, f"cannot be renewed: {found}", KEYS_MEND))
    return [*findings, *_drift()]


def _drift() -> list[dict[str, Any]]:
    try:
        with Client(timeout_s=15.0) as client:
            found = client.ask("config_drift")["drift"]
    except TwofoldError as e:
        return [_finding("configuration of all nodes", False, e.sentence or str(e), e.mend)]
    return [_finding("configuration of all nodes", False, d["text"], d["mend"]) for d in found]


def _certificate(pki: Any) -> dict[str, Any]:
    from twofold.adapters.pki import expires_in_days

    try:
        days = expires_in_days((pki / "node.crt").read_bytes())
    except OSError as e:
        return _finding("certificate", False, f"{e.filename} cannot be read", "Run it as root.")
    return _finding(
        "certificate",
        days > CERTIFICATE_DAYS_MIN,
        f"ends in {days:.0f} days",
        "twofoldd renews it by itself; why it could not: twofold events --alarms",
    )
