"""`twofold witness`: the service on a third machine, and how it joins a cluster."""

from __future__ import annotations

from typing import Annotated

import typer

from twofold.cli.cluster import host_name, require_root
from twofold.cli.output import print_json
from twofold.cli.session import AsJson, Session
from twofold.config.places import places
from twofold.errors import OperatorError
from twofold.wire.witness import PORT

app = typer.Typer(
    no_args_is_help=True,
    help="The third opinion: rules when two nodes lose each other. Runs on a third machine.",
)

DEFAULT_LISTEN = ("0.0.0.0", "::")


@app.command()
def serve(
    listen: Annotated[
        list[str] | None, typer.Option("--listen", metavar="IP", help="Default: every address.")
    ] = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65535)] = PORT,
) -> None:
    """Serve every cluster that this machine has joined as witness, until ended.

    Example: twofold witness serve
    """
    from twofold.witness.places import claims_file, keys
    from twofold.witness.service import main

    where = places()
    main(keys(where), claims_file(where), tuple(listen or DEFAULT_LISTEN), port)


@app.command()
def join(
    context: typer.Context,
    server: Annotated[str, typer.Argument(metavar="IP", help="A node of the cluster.")],
    token: Annotated[
        str,
        typer.Option("--token", help="From `twofold cluster invite`; '-' reads a line.",
                     envvar="TWOFOLD_TOKEN", prompt="Token"),
    ],
    address: Annotated[
        str, typer.Option("--address", metavar="HOST[:PORT]", help="Where the nodes reach it.")
    ],
    name: Annotated[
        str | None, typer.Option("--name", metavar="WITNESS", help="Default: the host name.")
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make this machine a witness of a cluster; it can be one of many clusters.

    Example: twofold witness join 10.0.0.1 --token TOKEN --address 10.0.0.9
    """
    from twofold.witness.enrol import enrol
    from twofold.witness.places import keys

    session = Session.of(context, None, as_json)
    if token == "-":
        token = typer.get_text_stream("stdin").readline()
    require_root()
    enrolled = enrol(keys(places()), server, token, name or host_name(), host_port(address))
    if session.as_json:
        print_json(vars(enrolled))
        return
    print(f"This machine is witness {enrolled.name} of cluster {enrolled.cluster} now.")
    print("Keep it running: systemctl enable --now twofold-witness")
    print('Modules use it with arbitration = "witness" in [module].')


def host_port(text: str) -> str:
    """`10.0.0.9` and `fd00::9` get the port of witnesses."""
    from twofold.config.values import split_host_port

    bare = text.count(":") != 1 and not text.startswith("[")
    said = f"[{text}]:{PORT}" if ":" in text and bare else f"{text}:{PORT}" if bare else text
    try:
        split_host_port(said)
    except ValueError as e:
        raise OperatorError(f"--address: {e}") from None
    return said


@app.command()
def status(context: typer.Context, as_json: AsJson = False) -> None:
    """The clusters that this witness rules for, and what was claimed.

    Example: twofold witness status
    """
    from twofold.witness.places import claims_file, enrolled, keys
    from twofold.witness.store import ClaimStore

    session = Session.of(context, None, as_json)
    where = places()
    clusters = list(enrolled(keys(where)))
    file = claims_file(where)
    claims = list(ClaimStore(file).all()) if file.exists() else []
    if session.as_json:
        found = [
            {"cluster_id": c, "module": m, "term": claim.term, "holder": claim.holder}
            for c, m, claim in claims
        ]
        print_json({"clusters": [vars(each) for each in clusters], "claims": found})
        return
    if not clusters:
        print("This machine is no cluster's witness. See: twofold witness join --help")
    for each in clusters:
        print(f"{each.cluster} ({each.cluster_id}), as {each.name} at {each.address}")
        for _, module, claim in (c for c in claims if c[0] == each.cluster_id):
            print(f"  {module:<20} term {claim.term} of node {claim.holder}")


@app.command()
def forget(
    context: typer.Context,
    cluster: Annotated[str, typer.Argument(metavar="CLUSTER_ID")],
    module: Annotated[str | None, typer.Argument(metavar="MODULE")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Forget what was claimed for a module, or for a cluster that is gone.

    Example: twofold witness forget site mariadb
    """
    from twofold.witness.places import claims_file
    from twofold.witness.store import ClaimStore

    session = Session.of(context, None, as_json)
    require_root()
    if not yes:
        typer.confirm("Nodes of it that are cut off now could then both serve. Forget?", abort=True)
    gone = ClaimStore(claims_file(places())).forget(cluster, module)
    session.show([{"forgotten": gone}], lambda a: print(f"Forgotten: {a['forgotten']}."))
