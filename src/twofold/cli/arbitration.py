"""`twofold cluster ping` and `cluster witness`: who rules when the nodes lose each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from twofold.cli.cluster import app as cluster_app
from twofold.cli.session import AsJson, Session
from twofold.client import Client
from twofold.errors import OperatorError

if TYPE_CHECKING:
    from twofold.config.schema_arbitration import ArbitrationSection, WitnessSection

app = typer.Typer(no_args_is_help=True, help="The cluster's witnesses; a majority decides.")
cluster_app.add_typer(app, name="witness")

_INVITE = "For a `twofold witness`, on its machine: twofold witness join (see: cluster invite)."


def _known(client: Client) -> tuple[ArbitrationSection, list[WitnessSection]]:
    answer = client.ask("cluster_arbitration")
    from twofold.config.schema_arbitration import ArbitrationSection, WitnessSection

    ping = ArbitrationSection.model_validate({"ping": answer["ping"], "timeout": answer["timeout"]})
    return ping, [WitnessSection.model_validate(w) for w in answer["witnesses"]]


def _set(
    client: Client, section: ArbitrationSection, witnesses: list[WitnessSection]
) -> dict[str, Any]:
    from twofold.config.render import arbitration_lines

    text = "\n".join(arbitration_lines(section, witnesses))
    return client.ask("cluster_arbitration", text=text)


@cluster_app.command("ping")
def ping(
    context: typer.Context,
    addresses: Annotated[
        list[str] | None, typer.Argument(metavar="IP", help="Without: none any more.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Addresses of which one must answer, for modules with arbitration = "ping".

    Example: twofold cluster ping 10.0.0.254 10.0.0.253
    """
    session = Session.of(context, None, as_json)
    with Client() as client:
        section, witnesses = _known(client)
        wanted = section.model_copy(update={"ping": tuple(addresses or [])})
        session.show([_set(client, wanted, witnesses)], _print)


@app.command("list")
def show(context: typer.Context, as_json: AsJson = False) -> None:
    """The witnesses and ping addresses of this cluster.

    Example: twofold cluster witness list
    """
    session = Session.of(context, None, as_json)
    with Client() as client:
        session.show([client.ask("cluster_arbitration")], _print)


@app.command()
def etcd(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    endpoint: Annotated[
        list[str], typer.Option("--endpoint", metavar="URL", help="Once for each member.")
    ],
    ca: Annotated[str | None, typer.Option("--ca", metavar="FILE")] = None,
    cert: Annotated[str | None, typer.Option("--cert", metavar="FILE")] = None,
    key: Annotated[str | None, typer.Option("--key", metavar="FILE")] = None,
    as_json: AsJson = False,
) -> None:
    """Use an etcd cluster as witness; files are paths on each node.

    Example: twofold cluster witness etcd kv --endpoint https://10.0.0.5:2379
    """
    from twofold.config.schema_arbitration import WitnessSection

    session = Session.of(context, None, as_json)
    fields = {"name": name, "kind": "etcd", "endpoints": endpoint}
    given = {k: v for k, v in (("ca", ca), ("cert", cert), ("key", key)) if v is not None}
    try:
        witness = WitnessSection.model_validate(fields | given)
    except ValueError as e:
        text = str(e).splitlines()[2].strip().removeprefix("Value error, ").partition(" [type")[0]
        raise OperatorError(text) from None
    with Client() as client:
        section, witnesses = _known(client)
        kept = [w for w in witnesses if w.name != name]
        session.show([_set(client, section, [*kept, witness])], _print)


@app.command()
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME")],
    as_json: AsJson = False,
) -> None:
    """Ask this witness no more.

    Example: twofold cluster witness remove w
    """
    session = Session.of(context, None, as_json)
    with Client() as client:
        section, witnesses = _known(client)
        kept = [w for w in witnesses if w.name != name]
        if len(kept) == len(witnesses):
            names = ", ".join(w.name for w in witnesses) or "none"
            raise OperatorError(f"there is no witness {name!r}", f"There is {names}.")
        session.show([_set(client, section, kept)], _print)


def _print(answer: dict[str, Any]) -> None:
    for witness in answer["witnesses"]:
        where = witness.get("address") or ", ".join(witness.get("endpoints", ()))
        print(f"{witness['name']:<12} {witness.get('kind', 'twofold'):<8} {where}")
    if not answer["witnesses"]:
        print(f"No witness. {_INVITE}")
    if answer["ping"]:
        print(f"Ping: {', '.join(answer['ping'])}")
