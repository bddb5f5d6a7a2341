"""`twofold k3s prereq | first | second | uninstall`: the installation, step by step."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from twofold.cli.cluster import require_root
from twofold.cli.k3s import KUBECONFIG, app
from twofold.cli.output import print_json
from twofold.cli.session import AsJson, Session
from twofold.cli.variables import Set, assignments
from twofold.errors import OperatorError

if TYPE_CHECKING:
    from twofold.k3s.settings import Settings
    from twofold.k3s.step import Outcome, Step

Address = Annotated[
    str, typer.Option("--address", metavar="IP/PREFIX", help="The virtual address.")
]
Directory = Annotated[str, typer.Option("--directory", help="The replicated directory.")]
Mount = Annotated[str, typer.Option("--mount", help="Where the volumes are mounted.")]
AirGap = Annotated[
    str | None,
    typer.Option("--airgap", metavar="DIR", help="Take K3s from here: install.sh, k3s, images."),
]
Version = Annotated[str, typer.Option("--k3s-version", metavar="VERSION")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, do nothing.")]
WaitFor = Annotated[
    float,
    typer.Option("--wait", metavar="SECONDS", min=0, help="For the other node; 0: do not wait."),
]
DIRECTORY, MOUNT, VERSION, WAIT_S = "/srv/k3s", "/srv/k3s-volumes", "v1.36.2+k3s1", 3600.0


@app.command()
def prereq(
    context: typer.Context,
    directory: Directory = DIRECTORY,
    mount: Mount = MOUNT,
    airgap: AirGap = None,
    dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:
    """Both nodes: check this machine, install packages, turn off what starts by itself.

    Example: twofold k3s prereq
    """
    from dataclasses import asdict

    from twofold.k3s import plan, steps_prereq
    from twofold.k3s.machine import ThisMachine

    session = Session.of(context, None, as_json)
    _root(dry_run)
    machine = ThisMachine()
    findings = steps_prereq.judge(steps_prereq.probe(machine, directory))
    wrong = [f for f in findings if f.hard and not f.ok]
    if not session.as_json:
        for f in findings:
            sign = "ok     " if f.ok else "MISSING" if f.hard else "advice "
            print(f"{sign} {f.name}: {f.found}" + ("" if f.ok else f". {f.mend}"))
    if wrong and not dry_run:
        names = ", ".join(f.name for f in wrong)
        raise OperatorError(f"this machine is not fit yet: {names}", wrong[0].mend)
    more = {"checks": [asdict(f) for f in findings]}
    _run(session, plan.prereq(directory, mount, airgap), dry_run, more)
    if not session.as_json and not dry_run:
        print("Ready. On the first node: twofold k3s first --address IP/PREFIX")


@app.command()
def first(
    context: typer.Context,
    address: Address,
    volumes: Annotated[
        str, typer.Option("--volumes", metavar="SIZE", help="Of the volume image; it can grow.")
    ] = "20G",
    thin: Annotated[
        bool, typer.Option("--thin", help="Even when the disk has less room than that.")
    ] = False,
    arbitration: Annotated[
        str,
        typer.Option(help="witness, ping or none: who rules when the nodes lose each other."),
    ] = "ping",
    ping: Annotated[
        str | None, typer.Option("--ping", metavar="IP", help="Default: the default router.")
    ] = None,
    directory: Directory = DIRECTORY,
    mount: Mount = MOUNT,
    values: Set = None,
    k3s_version: Version = VERSION,
    airgap: AirGap = None,
    wait: WaitFor = WAIT_S,
    dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:
    """The first node: cluster, datastore, volumes, K3s. Prints the command for the second.

    Example: twofold k3s first --address 10.0.0.100/24
    """
    import sys

    from twofold.k3s import plan
    from twofold.k3s.settings import ARBITRATION

    session = Session.of(context, None, as_json)
    _root(dry_run)
    if arbitration not in ARBITRATION:
        raise OperatorError(
            f"--arbitration {arbitration} is not known", f"Say one of {', '.join(ARBITRATION)}."
        )
    settings = _settings(
        address, volume_size=volumes, thin=thin, arbitration=arbitration,
        router=ping or _router(), directory=directory, mount=mount, k3s_version=k3s_version,
        airgap=airgap, wait_s=wait, more=tuple(assignments(values or []).items()),
    )  # fmt: skip
    _refuse_too_large(settings)

    def tell(line: str) -> None:
        # Also with --json somebody must be able to read the command for the second node.
        print(line, file=sys.stderr if session.as_json else sys.stdout, flush=True)

    steps = plan.first(settings, tell, _node_ready(settings))
    _run(session, steps, dry_run, {"address": settings.address, "own": settings.own})
    if not session.as_json and not dry_run:
        print(f"K3s serves at https://{settings.ip}:6443. Next: twofold k3s status")


@app.command()
def second(
    context: typer.Context,
    address: Address,
    token: Annotated[
        str | None,
        typer.Argument(metavar="TOKEN", help="As `first` shows it; '-' reads a line."),
    ] = None,
    server: Annotated[
        str | None, typer.Option("--server", metavar="IP", help="The first node.")
    ] = None,
    directory: Directory = DIRECTORY,
    mount: Mount = MOUNT,
    k3s_version: Version = VERSION,
    airgap: AirGap = None,
    wait: WaitFor = WAIT_S,
    dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:
    """The second node: join, receive everything, K3s.

    Example: twofold k3s second TOKEN --server 10.0.0.1 --address 10.0.0.100/24
    """
    from twofold.k3s import plan

    session = Session.of(context, None, as_json)
    _root(dry_run)
    if token == "-":
        token = typer.get_text_stream("stdin").readline().strip()
    settings = _settings(
        address, directory=directory, mount=mount, k3s_version=k3s_version, airgap=airgap,
        wait_s=wait,
    )  # fmt: skip
    steps = plan.second(settings, token, server, _node_ready(settings))
    _run(session, steps, dry_run, {"address": settings.address, "own": settings.own})
    if not session.as_json and not dry_run:
        print("Both nodes are K3s servers now. Next: twofold k3s status; twofold swap k3s")


@app.command()
def uninstall(
    context: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    dry_run: Dry = False,
    as_json: AsJson = False,
) -> None:
    """Take K3s and our settings off this node. Datastore, volumes and the module stay.

    Example: twofold k3s uninstall
    """
    from dataclasses import asdict

    from twofold.k3s import plan
    from twofold.k3s.machine import ThisMachine
    from twofold.k3s.settings import Settings
    from twofold.k3s.step import back

    session = Session.of(context, None, as_json)
    _root(dry_run)
    if not yes and not dry_run:
        typer.confirm("K3s and its pods end on this node, and its files go. Go on?", abort=True)
    # What is undone does not depend on the addresses.
    steps = plan.first(Settings("0.0.0.0/0", "", ""), print, lambda: True)
    steps = (*plan.prereq(DIRECTORY, MOUNT, None), *steps)
    outcomes = back(steps, ThisMachine(), _teller(session), dry_run)
    if session.as_json:
        print_json({"steps": [asdict(o) for o in outcomes]})
    elif not dry_run:
        print("What serves goes on. To end it too: twofold stop k3s; twofold module remove k3s.")
        print(f"The data stays in {DIRECTORY} on both nodes until you delete it.")
    if any(o.result == "failed" for o in outcomes):
        raise typer.Exit(12)


def _root(dry_run: bool) -> None:
    if not dry_run:
        require_root()


def _settings(address: str, **more: Any) -> Settings:
    from twofold.adapters.facts import interface_networks
    from twofold.k3s.settings import Settings, own_address, volume_bytes

    interface, own = own_address(address, interface_networks())
    volume_bytes(more.get("volume_size", "20G"))
    return Settings(address=address, own=own, interface=interface, **more)


def _router() -> str | None:
    import json

    from twofold.k3s.machine import ThisMachine

    out = ThisMachine().run(["ip", "-json", "route", "show", "default"], check=False).out
    try:
        routes: list[dict[str, Any]] = json.loads(out or "[]")
    except ValueError:
        return None
    return next((str(r["gateway"]) for r in routes if "gateway" in r), None)


def _refuse_too_large(settings: Settings) -> None:
    from pathlib import Path
    from shutil import disk_usage

    from twofold.k3s.settings import volume_bytes

    place = Path(settings.directory)
    if settings.thin or not place.is_dir() or (place / "volumes.img").exists():
        return
    free, wanted = disk_usage(place).free, volume_bytes(settings.volume_size)
    if wanted > free:
        raise OperatorError(
            f"the disk of {place} has {free >> 20} MiB free, less than --volumes "
            f"{settings.volume_size}",
            "Say a smaller size (it can grow later), or --thin and watch it yourself.",
        )


def _node_ready(settings: Settings) -> Callable[[], bool]:
    def ready() -> bool:
        from twofold.errors import TwofoldError
        from twofold.k3s import kubeconfig
        from twofold.k3s.kubernetes import KubernetesApi
        from twofold.k3s.takeover import NODES, is_ready, node_of

        try:
            access = kubeconfig.parse(KUBECONFIG.read_text())
            with KubernetesApi(access, 5.0) as api:
                node = node_of([settings.own], api.items(NODES))
        except (OSError, TwofoldError):
            return False
        return node is not None and is_ready(node)

    return ready


def _teller(session: Session) -> Callable[[Outcome], None]:
    def tell(outcome: Outcome) -> None:
        if not session.as_json:
            more = f" ({outcome.text})" if outcome.text else ""
            print(f"{outcome.result:<14} {outcome.says}{more}", flush=True)

    return tell


def _run(session: Session, steps: tuple[Step, ...], dry: bool, more: dict[str, Any]) -> None:
    from dataclasses import asdict

    from twofold.k3s.machine import ThisMachine
    from twofold.k3s.step import go

    outcomes = go(steps, ThisMachine(), _teller(session), dry)
    if session.as_json:
        print_json({**more, "steps": [asdict(o) for o in outcomes]})
