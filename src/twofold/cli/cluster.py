"""`twofold cluster`: found one, invite and join, look at it, leave it.

`init` and `join` write this machine's own files, as root, and need no daemon; one that runs
already notices. Everything else is asked of the daemon.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from twofold.cli.output import print_json
from twofold.cli.session import AsJson, OnNodes, Session
from twofold.cli.settling import silent_nodes
from twofold.client import Client
from twofold.config.places import places
from twofold.errors import MachineError, OperatorError, TwofoldError

app = typer.Typer(no_args_is_help=True, help="The servers that belong together.")

Addresses = Annotated[
    list[str] | None,
    typer.Option(
        "--address",
        "--network",
        metavar="[NETWORK=]IP",
        help="This machine's own address; with several networks once for each: lan=10.0.0.1.",
    ),
]
NodeName = Annotated[
    str | None, typer.Option("--name", metavar="NODE", help="Default: the host name.")
]
LAN, FLOW = "lan", "flow"


@app.command()
def init(
    context: typer.Context,
    address: Addresses = None,
    name: NodeName = None,
    cluster_name: Annotated[str, typer.Option("--cluster-name", metavar="NAME")] = "site",
    flow: Annotated[
        str | None,
        typer.Option("--flow", metavar="NETWORK", help="Replication prefers it; default: flow."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a cluster of this machine, and print how the second one joins.

    Example: twofold cluster init --address 10.0.0.1
    """
    from twofold import passwords
    from twofold.daemon.founding import ADMINISTRATOR, found, found_administrator

    session = Session.of(context, None, as_json)
    addresses = own_addresses(address or [])
    require_root()
    if flow is not None and flow not in addresses:
        raise OperatorError(f"--flow names {flow!r}, which has no --address {flow}=IP")
    preferred = flow or (FLOW if FLOW in addresses else None)
    node = found(places().etc, name or host_name(), addresses, cluster_name, preferred)
    password = passwords.generate()
    found_administrator(places().etc, passwords.hashed(password))
    _tell_daemon()
    silent_nodes({node.name})
    login = {"user": ADMINISTRATOR, "password": password}
    _print_invitation(session, node.cluster.cluster.name, node.name, addresses, login)


@app.command()
def invite(context: typer.Context, as_json: AsJson = False) -> None:
    """Print a new join command; its token admits one node within an hour.

    Example: twofold cluster invite
    """
    from twofold.config.load import load_node

    session = Session.of(context, None, as_json)
    require_root()
    node = load_node(places().etc)
    if node is None:
        raise OperatorError(
            "this machine is not part of a cluster yet",
            "Make one with: twofold cluster init --address ADDRESS",
        )
    _print_invitation(session, node.cluster.cluster.name, node.name, node.me.addresses)


def _print_invitation(
    session: Session,
    cluster: str,
    node: str,
    addresses: dict[str, str],
    login: dict[str, str] | None = None,
) -> None:
    from twofold.daemon.admission import invite as invitation
    from twofold.wire.token import LIFETIME_S

    token = invitation(places().etc)
    options = (
        "--address ADDRESS"
        if list(addresses) == [LAN]
        else " ".join(f"--address {n}=ADDRESS" for n in addresses)
    )
    server = next(iter(addresses.values()))
    join_command = f"twofold cluster join {server} --token {token} {options}"
    if session.as_json:
        print_json(
            {
                "cluster": cluster,
                "node": node,
                "addresses": addresses,
                "token": token,
                "join": join_command,
                "token_ends_at": time.time() + LIFETIME_S,
                **({"console": login} if login else {}),
            }
        )
        return
    where = ", ".join(f"{n} {ip}" for n, ip in addresses.items())
    print(f"This machine is node {node} ({where}) of cluster {cluster}.")
    if not _daemon_answers():
        print("twofoldd does not run here yet. Start it: systemctl enable --now twofoldd")
    print("On the second server, as root, within one hour, with its own ADDRESS:\n")
    print(f"    {join_command}\n")
    if login:
        print(f"Console and API: https://{_in_url(server)}:9010, user {login['user']}, password "
              f"{login['password']} (shown this once;")  # fmt: skip
        print("another: twofold user password admin). Its certificate is the cluster's: trust "
              "/etc/twofold/web/ca.crt.")  # fmt: skip


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@app.command()
def join(
    context: typer.Context,
    server: Annotated[str, typer.Argument(metavar="IP", help="A node of the cluster.")],
    token: Annotated[
        str,
        typer.Option("--token", help="From cluster init or invite; '-' reads a line.",
                     envvar="TWOFOLD_TOKEN", prompt="Token"),
    ],
    address: Addresses = None,
    name: NodeName = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Make this machine a node of an existing cluster.

    Example: twofold cluster join 10.0.0.1 --token TOKEN --address 10.0.0.2
    """
    from twofold.daemon.joining import join as joined

    session = Session.of(context, None, as_json)
    if token == "-":
        token = typer.get_text_stream("stdin").readline()
    addresses = own_addresses(address or [])
    require_root()
    node = joined(places().etc, server, token, name or host_name(), addresses)
    _tell_daemon()
    others = [n.name for n in node.peers]
    silent = silent_nodes({node.name, *others})
    if session.as_json:
        print_json({"cluster": node.cluster.cluster.name, "node": node.name, "others": others,
                    "silent": sorted(silent or ())})  # fmt: skip
        return
    print(f"This machine is node {node.name} of cluster {node.cluster.cluster.name} now, "
          f"beside {' and '.join(others)}.")  # fmt: skip
    if silent is None:
        print("twofoldd does not run here yet. Start it: systemctl enable --now twofoldd")
    elif silent:
        print(f"{' and '.join(sorted(silent))} does not answer yet. Look: twofold cluster state")
    else:
        print("Next: twofold cluster state; then twofold module library")


@app.command()
def state(context: typer.Context, on: OnNodes = None, as_json: AsJson = False) -> None:
    """The nodes, their addresses, and whether each one answers.

    Example: twofold cluster state
    """
    session = Session.of(context, on, as_json)
    with Client() as client:
        answers = client.ask_nodes(session.nodes or ("*",), "cluster_state", timeout_s=2.0)
    if session.as_json:
        print_json(answers)
        return
    known = next((a for a in answers if a.get("cluster")), None)
    if known is None:
        session.show(answers, lambda a: None)
        raise OperatorError("this machine is not part of a cluster any more")
    print(f"Cluster {known['cluster']} ({known['cluster_id']})")
    addresses = {m["node"]: m["addresses"] for m in known["members"]}
    for answer in answers:
        node = str(answer["node"])
        where = ", ".join(f"{n} {ip}" for n, ip in addresses.get(node, {}).items())
        print(f"  {node:<12} {where:<44} {_condition(answer, known)}")
    if any(a.get("digests") != known["digests"] for a in answers if "error" not in a):
        print("The nodes' configurations differ. See: twofold config drift")


def _condition(answer: dict[str, Any], known: dict[str, Any]) -> str:
    if "error" in answer:
        return f"no answer: {answer['error']['text']}"
    days = float(answer["certificate_days"])
    trouble = answer.get("certificate_trouble")
    keys = f", certificate ends in {days:.0f} days" if days < 60 or trouble else ""
    keys += f" and cannot be renewed: {trouble}" if trouble else ""
    return f"up{keys}"


@app.command()
def leave(
    context: typer.Context,
    force: Annotated[
        bool, typer.Option("--force", help="Also when the other node cannot be told.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take this machine out of its cluster. Replicated directories keep their content.

    Example: twofold cluster leave
    """
    session = Session.of(context, None, as_json)
    if not yes:
        typer.confirm(
            "This node's keys and module configuration are removed. Leave the cluster?", abort=True
        )
    with Client() as client:
        answer = client.ask("cluster_leave", force=force)
    session.show([answer], lambda a: print(f"This machine left cluster {a['left']}."))


@app.command()
def remove(
    context: typer.Context,
    node: Annotated[str, typer.Argument(metavar="NODE")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take a node that is dead for good out of the cluster; another can join then.

    One that answers is refused: it leaves by itself.

    Example: twofold cluster remove b --yes
    """
    session = Session.of(context, None, as_json)
    if not yes:
        typer.confirm(
            f"This cluster forgets {node}. What only {node} has stays on its disk, and does not "
            "come back by itself. Go on?",
            abort=True,
        )
    with Client() as client:
        answer = client.ask("cluster_remove", node=node)
    session.show([answer], lambda a: print(f"Node {a['removed']} is not in the cluster any more."))


@app.command("rotate-keys")
def rotate_keys(context: typer.Context, as_json: AsJson = False) -> None:
    """Replace the heartbeat key and every node's key while everything runs; all nodes must be up.

    The authority stays, and with it the validity of the old keys' certificates: a key that was
    stolen is shut out only by a new cluster.

    Example: twofold cluster rotate-keys
    """
    session = Session.of(context, None, as_json)
    with Client() as client:
        answer = client.ask("cluster_rotate_keys", timeout_s=120.0)
    session.show([answer], lambda a: print(f"The keys of {' and '.join(a['nodes'])} are new."))


def own_addresses(texts: list[str]) -> dict[str, str]:
    """Network -> this machine's address, from the options; refuses what is not this machine's."""
    found: dict[str, str] = {}
    for text in texts:
        network, equals, ip = text.partition("=")
        if not equals:
            network, ip = LAN, text
        if network in found:
            raise OperatorError(
                f"network {network} has two addresses, {found[network]} and {ip}",
                "Name each network: --address lan=10.0.0.1 --address flow=10.0.1.1",
            )
        found[network] = ip
    if not found:
        raise OperatorError(
            "this machine's address is missing", "Add: --address 10.0.0.1 (with its own address)"
        )
    for ip in found.values():
        _refuse_foreign(ip)
    return found


def _refuse_foreign(ip: str) -> None:
    family = socket.AF_INET6 if ":" in ip else socket.AF_INET
    try:
        socket.inet_pton(family, ip)
    except OSError:
        raise OperatorError(
            f"{ip!r} is not an IP address", "Write it without prefix, such as 10.0.0.1"
        ) from None
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((ip, 0))
        except OSError:
            raise OperatorError(
                f"{ip} is not an address of this machine", "`ip -brief address` lists what it has."
            ) from None


def host_name() -> str:
    """The host's short name in the form of a node's name."""
    short = socket.gethostname().partition(".")[0].lower()
    return re.sub(r"[^a-z0-9-]", "-", short).strip("-")[:32] or "node"


def require_root() -> None:
    etc = places().etc
    nearest = next(p for p in (etc, *etc.parents) if p.exists())
    if not os.access(nearest, os.W_OK):
        raise MachineError(f"you may not write in {Path(nearest)}", "Run it as root (sudo).")


def _tell_daemon() -> None:
    """A running daemon reads the new files at once instead of at its next look."""
    with contextlib.suppress(TwofoldError), Client(timeout_s=5.0) as client:
        client.ask("reload")


def _daemon_answers() -> bool:
    return places().socket.exists()
