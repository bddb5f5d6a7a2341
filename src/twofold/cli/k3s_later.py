"""`twofold k3s status | volumes | backup | restore | sample`: what comes after the installation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from twofold.cli.cluster import require_root
from twofold.cli.k3s import KUBECONFIG, MODULE, Kubeconfig, app
from twofold.cli.output import print_json
from twofold.cli.session import AsJson, Session
from twofold.config.places import places

if TYPE_CHECKING:
    from twofold.k3s.volumes import Volumes

volumes = typer.Typer(no_args_is_help=True, help="The image that holds the persistent volumes.")
app.add_typer(volumes, name="volumes")


def _where() -> tuple[str, str]:
    """(mount, directory) of the module, or the defaults where there is none yet."""
    from twofold.config.load import load_module
    from twofold.errors import TwofoldError

    found = {"mount": "/srv/k3s-volumes", "directory": "/srv/k3s"}
    try:
        given = load_module(places().etc, MODULE).config.variables
    except (TwofoldError, OSError):
        given = {}
    for name in found:
        value = given.get(name)
        text = value if isinstance(value, str) else value.default if value else None
        found[name] = text or found[name]
    return found["mount"], found["directory"]


@app.command()
def status(
    context: typer.Context, kubeconfig: Kubeconfig = KUBECONFIG, as_json: AsJson = False
) -> None:
    """Nodes, leases, datastore, volumes and certificates; and what to do next.

    Example: twofold k3s status
    """
    import datetime

    from twofold.k3s import status as looking
    from twofold.k3s.kubeconfig import parse
    from twofold.k3s.machine import ThisMachine

    session = Session.of(context, None, as_json)
    access = None
    if kubeconfig.exists():
        access = parse(kubeconfig.read_text(), str(kubeconfig))
    now = datetime.datetime.now(datetime.UTC)
    found = looking.gather(ThisMachine(), access, *_where(), now)
    if session.as_json:
        print_json(found.as_json())
    else:
        print("\n".join(looking.lines(found)))


@app.command()
def sample() -> None:
    """Print the manifest of the sample application: WordPress with its database.

    Example: twofold k3s sample
    """
    import twofold.k3s.manifests

    folder = Path(twofold.k3s.manifests.__file__).parent
    print((folder / "wordpress.yaml").read_text(), end="")


def _show(session: Session, found: Volumes) -> None:
    from twofold.k3s.volumes import warnings

    if session.as_json:
        print_json({**asdict(found), "warnings": warnings(found)})
        return
    print(f"{found.mount}: {found.used_bytes >> 20} of {found.size_bytes >> 20} MiB used.")
    print(
        f"The image takes {found.allocated_bytes >> 20} MiB of the disk below, "
        f"which has {found.disk_free_bytes >> 20} MiB free."
    )
    for warning in warnings(found):
        print(f"-> {warning}")


def _act(context: typer.Context, as_json: bool, act: Callable[[str, str], Volumes]) -> None:
    require_root()
    _show(Session.of(context, None, as_json), act(*_where()))


@volumes.command()
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """How full they are, and whether they can be written; on the node that serves.

    Example: twofold k3s volumes show
    """
    from twofold.errors import CommandRefused
    from twofold.k3s.machine import ThisMachine
    from twofold.k3s.volumes import look

    def act(mount: str, directory: str) -> Volumes:
        found = look(ThisMachine(), mount, directory)
        if found is None:
            raise CommandRefused(
                "the volumes are not mounted on this node", "Say it on the node that serves."
            )
        return found

    _act(context, as_json, act)


@volumes.command()
def grow(
    context: typer.Context,
    size: Annotated[str, typer.Argument(metavar="SIZE", help="The new size, such as 200G.")],
    thin: Annotated[bool, typer.Option("--thin", help="Even without room on the disk.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make them larger while everything runs; on the node that serves.

    Example: twofold k3s volumes grow 100GiB
    """
    from twofold.k3s.machine import ThisMachine
    from twofold.k3s.volumes import grow as enlarge

    _act(context, as_json, lambda m, d: enlarge(ThisMachine(), m, d, size, thin))


@volumes.command()
def trim(context: typer.Context, as_json: AsJson = False) -> None:
    """Give space of deleted files back to the disk; on the node that serves.

    Example: twofold k3s volumes trim
    """
    from twofold.k3s.machine import ThisMachine
    from twofold.k3s.volumes import trim as give_back

    _act(context, as_json, lambda m, d: give_back(ThisMachine(), m, d))


@app.command()
def backup(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="New; not on the volumes.")],
    pause: Annotated[
        bool,
        typer.Option(
            "--pause", help="Writers wait for the whole copy where files cannot be cloned."
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Datastore, secrets and volumes into FOLDER, while everything runs; where it serves.

    Example: twofold k3s backup /mnt/backup/k3s
    """
    from twofold.k3s.backup import make
    from twofold.k3s.machine import ThisMachine

    session = Session.of(context, None, as_json)
    require_root()
    mount, directory = _where()
    done = make(ThisMachine(), directory, mount, folder.rstrip("/"), pause)
    if session.as_json:
        print_json(asdict(done))
    else:
        held = f"; writers waited {done.paused_s:g} s" if done.volumes else ""
        print(f"{done.place} is a whole backup{held}.")


@app.command()
def restore(
    context: typer.Context,
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Of `twofold k3s backup`.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring a backup back, where it serves; K3s is stopped on both nodes before.

    Example: twofold k3s restore /mnt/backup/k3s
    """
    from twofold.k3s.backup import restore as bring_back
    from twofold.k3s.machine import ThisMachine

    session = Session.of(context, None, as_json)
    require_root()
    if not yes:
        typer.confirm(f"The datastore becomes that of {folder}. Go on?", abort=True)
    mount, directory = _where()
    following = bring_back(ThisMachine(), directory, mount, folder.rstrip("/"))
    if session.as_json:
        print_json({"restored": folder, "next": following})
    else:
        print("\n".join(["Restored.", *following]))
