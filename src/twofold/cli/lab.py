"""`twofold lab`: two complete nodes on this machine, to learn on, to rehearse with, and to test.

Thin: every command is a method of `twofold.lab.lab.Lab` or one of the programs beside it.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from twofold.config.units import parse_size_bytes
from twofold.errors import CommandRefused, TwofoldError
from twofold.lab import record, requirements
from twofold.lab.cluster import DAEMON, Cluster, daemon_command
from twofold.lab.demo import Demo, farewell
from twofold.lab.forwarding import forward
from twofold.lab.kine_build import provide_kine
from twofold.lab.lab import Lab
from twofold.lab.postmortem import tell_last_words
from twofold.lab.told import Account
from twofold.lab.torture import Torture
from twofold.lab.watching import watch_service
from twofold.lab.workloads import KineWorkload, SqliteWorkload

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    help="Two complete nodes on this machine: to learn, rehearse and test.",
)
daemon_app = typer.Typer(no_args_is_help=True, help="Stop and start a node's daemon alone.")
app.add_typer(daemon_app, name="daemon")

Node = Annotated[str, typer.Argument(help="a or b (c, d); or witness, in a lab that has one")]
Host = Annotated[str, typer.Argument(help="a, b (c, d), client, or witness")]
Name = Annotated[
    str, typer.Option("--name", envvar="TWOFOLD_LAB_NAME", help="Which lab, when there are several")
]
MaybeName = Annotated[str | None, typer.Option("--name", help="The lab's name")]
NameHere = Annotated[
    str, typer.Argument(envvar="TWOFOLD_LAB_NAME", help="Which lab, when there are several")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output")]
FileSystem = Annotated[str, typer.Option("--fs", help="The nodes' file system: ext4 or xfs")]
Size = Annotated[str, typer.Option(help="The size of each node's (sparse) disk")]
Directory = Annotated[
    Path | None, typer.Option("--dir", help="Where the disks are kept (default /var/tmp)")
]


def _size_bytes(text: str) -> int:
    """`4G` as people type it, and everything that the configuration takes."""
    try:
        return parse_size_bytes(f"{text}iB" if text[-1:] in "KMGT" and text else text)
    except ValueError as mistake:
        raise CommandRefused(f"--size: {mistake}") from None


@app.command()
def up(
    name: NameHere = "lab",
    fs: FileSystem = "ext4",
    size: Size = "4G",
    directory: Directory = None,
    no_cluster: Annotated[
        bool, typer.Option("--no-cluster", help="Two bare nodes, to form the cluster yourself")
    ] = False,
    nodes: Annotated[int, typer.Option(help="2 to 4; with more than two, modules name theirs")] = 2,
    witness: Annotated[
        bool, typer.Option("--witness", help="A third machine, that rules in a split")
    ] = False,
) -> None:
    """Make the nodes and a client, and form the cluster.

    Example: twofold lab up --no-cluster
    """
    account = Account()
    lab = Lab.make(
        name,
        file_system=fs,
        size_bytes=_size_bytes(size),
        directory=directory,
        witness=witness,
        nodes=nodes,
    )
    cluster = Cluster(lab)
    if no_cluster:
        cluster.start_daemons()
        account.tell(f"Nodes {_listed(lab)} are on. Form the cluster: twofold lab shell a")
        return
    try:
        cluster.form()
        if witness:
            cluster.add_witness()
    except BaseException:
        account.plain(f"The nodes stay up for a look; to remove them: twofold lab down {name}")
        raise
    account.tell(
        f"Nodes {_listed(lab)} are on, and their cluster is formed. A shell: twofold lab shell a"
    )
    for line in cluster.console_lines():
        account.plain(line)


def _listed(lab: Lab) -> str:
    return f"{', '.join(lab.nodes[:-1])} and {lab.nodes[-1]}"


@app.command()
def down(
    name: NameHere = "lab",
    everything: Annotated[bool, typer.Option("--all", help="Every lab on this machine")] = False,
) -> None:
    """End the lab and remove everything: processes, namespaces, mounts, disks.

    Example: twofold lab down
    """
    requirements.require(requirements.lab_lacks("ext4")[:1] if os.geteuid() != 0 else [])
    for each in record.names() if everything else [name]:
        found = Lab.take_down(each)
        typer.echo(f"Lab {each} is gone." if found else f"There was no lab {each}.")


@app.command()
def status(name: NameHere = "lab", as_json: AsJson = False) -> None:
    """What is on, what is cut, and what each node says about its modules.

    Example: twofold lab status
    """
    lab = Lab.open(name)
    cluster = Cluster(lab)
    hosts: list[dict[str, Any]] = []
    for host in lab.status():
        answer = cluster.ask(host.host, "state") if host.up and host.host in lab.nodes else None
        hosts.append({**asdict(host), "modules": (answer or {}).get("modules", [])})
    if as_json:
        typer.echo(json.dumps({"name": lab.name, "hosts": hosts}))
        return
    for host in hosts:
        power = f"on (process {host['pid']})" if host["up"] else "off"
        cut = f", cut from {' and '.join(host['cut'])}" if host["cut"] else ""
        typer.echo(f"{host['host']:<7} {power}{cut}")
        for module in host["modules"]:
            shown = f"{module['state']} {module['readiness']}"
            typer.echo(f"        {module['module']}: {shown}: {module['sentence']}")


@app.command()
def kill(node: Node, name: Name = "lab") -> None:
    """A power cut: cables dead, memory lost, every process ended, at once.

    Example: twofold lab kill a
    """
    Lab.open(name).kill(node)
    typer.echo(f"{node} has lost its power. Give it back: twofold lab start {node}")


@app.command()
def start(node: Node, name: Name = "lab") -> None:
    """Power on: the node boots from its disk as it is.

    Example: twofold lab start a
    """
    Lab.open(name).start(node)
    typer.echo(f"{node} is on.")


@app.command("power-off")
def power_off(node: Node, name: Name = "lab") -> None:
    """An orderly shutdown of a node, as `poweroff` does it.

    Example: twofold lab power-off a
    """
    Lab.open(name).power_off(node)
    typer.echo(f"{node} is off, in order.")


Network = Annotated[list[str] | None, typer.Option("--network", help="lan or flow (default: both)")]


@app.command()
def cut(
    node: Node,
    network: Network = None,
    silent: Annotated[
        bool, typer.Option("--silent", help="As a dead switch: carrier stays, nothing passes")
    ] = False,
    name: Name = "lab",
) -> None:
    """Pull the node's network cables.

    Example: twofold lab cut a
    """
    networks = network or ["lan", "flow"]
    Lab.open(name).cut(node, networks, silent)
    typer.echo(f"{node} is cut from {' and '.join(networks)}. Plug in again: twofold lab heal")


@app.command()
def heal(
    node: Annotated[str | None, typer.Argument(help="a, b or witness; without: all")] = None,
    name: Name = "lab",
) -> None:
    """Plug every pulled cable in again.

    Example: twofold lab heal a
    """
    Lab.open(name).heal(node)
    typer.echo("Every cable is in.")


@app.command()
def shell(host: Host, name: Name = "lab") -> None:
    """A shell on the host; `exit` leaves it.

    Example: twofold lab shell b
    """
    _become(Lab.open(name), host, ["bash", "--norc"], {"PS1": f"{host}# "})


@app.command("exec", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context, host: Host, name: Name = "lab") -> None:
    """Run a command on the host, with its exit code: twofold lab exec a -- twofold state

    Example: twofold lab exec a twofold state
    """
    words = context.args
    if not words:
        raise CommandRefused(f"What shall run on {host}? twofold lab exec {host} -- COMMAND")
    _become(Lab.open(name), host, words, {})


def _become(lab: Lab, host: str, words: list[str], extra: dict[str, str]) -> None:
    argv = lab.argv_in(host, words)
    sys.stdout.flush()
    os.execve(argv[0], argv, {**lab.environment(host), **extra})


@app.command()
def console(
    node: Annotated[str, typer.Argument(help="a or b")] = "a",
    port: Annotated[int, typer.Option(help="Of this machine, on 127.0.0.1")] = 9010,
    name: Name = "lab",
) -> None:
    """Make a node's console reachable for a browser of this machine, until Ctrl-C.

    Example: twofold lab console
    """
    lab = Lab.open(name)
    typer.echo(f"Node {node}'s console: https://localhost:{port}  (Ctrl-C ends it)")
    forward(lab, node, port)


@app.command()
def watch(name: Name = "lab") -> None:
    """Write to the demo through the virtual address, and show every pause, until Ctrl-C.

    Example: twofold lab watch
    """
    watch_service(Lab.open(name), Account())


@daemon_app.command("stop")
def daemon_stop(node: Node, name: Name = "lab") -> None:
    """End the node's daemon and leave it ended; what it started goes on.

    Example: twofold lab daemon stop a
    """
    Lab.open(name).supervise(node, DAEMON, None)


@daemon_app.command("start")
def daemon_start(node: Node, name: Name = "lab") -> None:
    """Start the node's daemon again, and keep it running.

    Example: twofold lab daemon start a
    """
    Lab.open(name).supervise(node, DAEMON, daemon_command())


def _end_in_order_when_told() -> None:
    """A run that is told to end takes its lab down, as Ctrl-C does."""

    def end(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, end)


@app.command()
def demo(
    once: Annotated[bool, typer.Option("--once", help="Unattended; taken down at the end")] = False,
    as_json: AsJson = False,
    fs: FileSystem = "ext4",
    size: Size = "2G",
    name: MaybeName = None,
) -> None:
    """The main job, told: a power cut of the primary while a client writes, and nothing lost.

    Example: twofold lab demo
    """
    account = Account(sys.stderr if as_json else sys.stdout)
    # An unattended run never meets a lab that somebody plays with.
    name = name or (f"once{os.getpid()}" if once else "lab")
    _end_in_order_when_told()
    if not once and record.load(name) is not None:
        account.tell(f"The lab {name} of before is taken down first.")
        Lab.take_down(name)
    lab = Lab.make(name, file_system=fs, size_bytes=_size_bytes(size))
    good = False
    try:
        outcome = Demo(lab, account).run()
        good = outcome.good
        if as_json:
            typer.echo(json.dumps(outcome.as_json()))
    except BaseException as failure:
        if once and isinstance(failure, TwofoldError):
            tell_last_words(lab, account, SqliteWorkload.module)
        if not once:
            account.plain(f"The lab stays up for a look; to remove it: twofold lab down {name}")
        raise
    finally:
        if once:
            lab.down()
    if not once:
        farewell(account, name)
    if not good:
        raise typer.Exit(1)


@app.command()
def torture(
    application: Annotated[str, typer.Option("--app", help="sqlite or kine")] = "sqlite",
    kills: Annotated[int, typer.Option(min=1, help="How many power cuts of the primary")] = 10,
    seed: Annotated[int | None, typer.Option(help="Repeats the plan of an earlier run")] = None,
    as_json: AsJson = False,
    cables: Annotated[
        bool, typer.Option("--cables", help="Also pull a cable before each power cut")
    ] = False,
    blackouts: Annotated[
        bool, typer.Option("--blackouts", help="Also cut both nodes before each power cut")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the lab up at the end")] = False,
    fs: FileSystem = "ext4",
    size: Size = "2G",
    name: MaybeName = None,
) -> None:
    """The main job under many power cuts, with every acknowledged write counted.

    Example: twofold lab torture
    """
    if application not in ("sqlite", "kine"):
        raise CommandRefused(f"--app is sqlite or kine, not {application!r}.")
    account = Account(sys.stderr)
    if application == "kine":
        provide_kine(account.plain)
        requirements.require(requirements.kine_lacks())
    workload = (
        KineWorkload() if application == "kine" else SqliteWorkload(workers=2, ballast_mib=192)
    )
    name = name or f"torture{os.getpid()}"
    _end_in_order_when_told()
    chosen = random.SystemRandom().randrange(1_000_000) if seed is None else seed
    lab = Lab.make(name, file_system=fs, size_bytes=_size_bytes(size))
    try:
        torment = Torture(lab, workload, account, application, kills, chosen, cables, blackouts)
        result = torment.run()
    except TwofoldError:
        if not keep:
            tell_last_words(lab, account, workload.module)
        raise
    finally:
        if keep:
            account.plain(f"The lab stays up; to remove it: twofold lab down {name}")
        else:
            lab.down()
    if as_json:
        typer.echo(json.dumps(result.as_json()))
    if not result.good:
        raise typer.Exit(1)
