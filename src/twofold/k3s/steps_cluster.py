"""Twofold's part of an installation: the cluster, who rules, the module, and that it serves.

Everything goes through `twofold` itself, as a person would type it; tokens go by standard input.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from typing import Any, cast

from twofold.k3s import texts
from twofold.k3s.machine import Machine
from twofold.k3s.settings import MODULE, Settings
from twofold.k3s.step import Step, StepFailed, wait

CLUSTER_FILE, NODE_FILE = "/etc/twofold/cluster.toml", "/etc/twofold/node.toml"
MODULE_FILE = f"/etc/twofold/modules/{MODULE}/module.toml"
# Not before the module's own services have used up theirs: their bounds add up to 1110 s.
SERVE_WITHIN_S, FOLLOW_WITHIN_S = 1200.0, 86400.0

Tell = Callable[[str], None]


def ask(machine: Machine, *words: str, stdin: str = "", bound_s: float = 90.0) -> Any:
    """A command of Twofold with --json."""
    out = machine.run(["twofold", *words, "--json"], stdin=stdin, bound_s=bound_s).out
    try:
        return json.loads(out)
    except ValueError:
        raise StepFailed(f"twofold {words[0]} answered in a way that is not JSON") from None


def state(machine: Machine) -> dict[str, Any]:
    """This node's object of the module; empty when there is none."""
    ran = machine.run(["twofold", "state", MODULE, "--json"], check=False)
    try:
        answer: Any = json.loads(ran.out)
    except ValueError:
        return {}
    if not isinstance(answer, list):
        return {}
    own = own_name(machine)
    objects = cast(list[dict[str, Any]], answer)
    here = [each for each in objects if each.get("node") == own and "state" in each]
    return here[0] if here else {}


def own_name(machine: Machine) -> str | None:
    try:
        return str(tomllib.loads(machine.read(NODE_FILE) or "")["name"])
    except (tomllib.TOMLDecodeError, KeyError):
        return None


def is_serving(machine: Machine) -> bool:
    now = state(machine)
    return now.get("state") in ("PRIM", "ALONE") and now.get("readiness") == "Ready"


def is_following(machine: Machine) -> bool:
    return state(machine).get("readiness") == "Ready"


def addresses(machine: Machine) -> list[str]:
    """The own addresses of all nodes; the first of each is what K3s uses."""
    answers: list[dict[str, Any]] = ask(machine, "cluster", "state")
    for answer in answers:
        members: list[dict[str, Any]] = answer.get("members", [])
        if members:
            return [str(ip) for member in members for ip in dict(member["addresses"]).values()]
    raise StepFailed("no node says which nodes the cluster has", "See: twofold cluster state")


def has_peer(machine: Machine) -> bool:
    text = machine.read(CLUSTER_FILE) or ""
    return text.count("[[node]]") > 1


def first(settings: Settings, tell: Tell) -> tuple[Step, ...]:
    return (
        Step(
            "cluster",
            f"a cluster of this node ({settings.own})",
            lambda m: m.exists(CLUSTER_FILE),
            lambda m: ask(m, "cluster", "init", "--address", settings.own) and None,
        ),
        Step(
            "second-node",
            "the second node joins (its command is shown)",
            has_peer,
            lambda m: _invite_and_wait(m, settings, tell),
        ),
        Step(
            "arbitration",
            f"who rules when the nodes lose each other: {settings.arbitration}",
            lambda m: _is_arbitrated(m, settings),
            lambda m: _arbitrate(m, settings),
        ),
        Step(
            "module",
            f"the module {MODULE} on both nodes",
            lambda m: m.exists(MODULE_FILE),
            lambda m: _add_module(m, settings),
        ),
        Step(
            "serving",
            "datastore and volumes are set up, and serve",
            lambda m: _is_set_up(m, settings),
            _serve,
        ),
    )


def second(settings: Settings, token: str | None, server: str | None) -> tuple[Step, ...]:
    return (
        Step(
            "joined",
            "this node is a member of the cluster",
            lambda m: m.exists(CLUSTER_FILE),
            lambda m: _join(m, settings, token, server),
        ),
        Step(
            "module-here",
            f"the module {MODULE} has come from the first node",
            lambda m: m.exists(MODULE_FILE),
            lambda m: wait(
                m, settings.wait_s, lambda: m.exists(MODULE_FILE),
                f"the module {MODULE} is here",
                "On the first node, `twofold k3s first` must be running; run this again then.",
            ),
        ),
        Step(
            "following",
            "this node has everything",
            is_following,
            _follow,
        ),
        Step(
            "same-users",
            "mysql has the same number on both nodes",
            lambda m: m.owner(f"{settings.directory}/mysql") == m.user("mysql"),
            lambda m: _see_users(m, settings),
        ),
    )  # fmt: skip


def _invite_and_wait(machine: Machine, settings: Settings, tell: Tell) -> None:
    token = ask(machine, "cluster", "invite")["token"]
    tell("On the second node, as root, within one hour:")
    tell(f"    twofold k3s second {token} --server {settings.own} {settings.for_second()}")
    if settings.wait_s <= 0:
        raise StepFailed(
            "the second node has not joined yet", "Run the same command here again when it has."
        )
    wait(
        machine, settings.wait_s, lambda: has_peer(machine), "the second node has joined",
        "Run the same command here again: it goes on where it was.",
    )  # fmt: skip


def _is_arbitrated(machine: Machine, settings: Settings) -> bool:
    text = machine.read(CLUSTER_FILE) or ""
    return settings.arbitration == "none" or "[[witness]]" in text or "\nping = [" in text


def _arbitrate(machine: Machine, settings: Settings) -> None:
    if settings.arbitration == "witness":
        raise StepFailed(
            "the cluster has no witness yet",
            "On a third machine: twofold witness join (see docs/guides/witness.md); "
            "or say --arbitration ping.",
        )
    if settings.router is None:
        raise StepFailed(
            "there is no router to ask when the nodes lose each other",
            "Name an address that both nodes always reach: --ping 10.0.0.254",
        )
    machine.run(["twofold", "cluster", "ping", settings.router])


def _add_module(machine: Machine, settings: Settings) -> None:
    text = machine.read(CLUSTER_FILE) or ""
    rules = "witness" if "[[witness]]" in text else settings.arbitration
    values = texts.module_variables(settings, addresses(machine)) | {"arbitration": rules}
    words = [word for k, v in values.items() for word in ("--set", f"{k}={v}")]
    machine.run(["twofold", "module", "add", MODULE, *words], bound_s=90)


def _is_set_up(machine: Machine, settings: Settings) -> bool:
    """It serves here; or it once did, and has moved to the other node since."""
    now = state(machine)
    here = now.get("state") in ("PRIM", "ALONE")
    return now.get("readiness") == "Ready" and (here or machine.exists(f"{settings.secrets}/token"))


def _serve(machine: Machine) -> None:
    # Only a directory that never had a generation is declared to be the good data.
    known = machine.exists(f"/var/lib/twofold/{MODULE}/generation")
    word = "start" if known else "prim"
    machine.run(["twofold", word, MODULE], bound_s=300, check=False)
    wait(
        machine, SERVE_WITHIN_S, lambda: is_following(machine), f"{MODULE} serves here",
        f"See: twofold state; twofold log {MODULE}",
    )  # fmt: skip
    if not is_serving(machine):
        raise StepFailed(
            f"the other node serves {MODULE}, and what this step makes goes where it serves",
            f"twofold swap {MODULE}; then the same command here again.",
        )


def _follow(machine: Machine) -> None:
    machine.run(["twofold", "start", MODULE], bound_s=300, check=False)
    wait(
        machine, FOLLOW_WITHIN_S, lambda: is_following(machine), "this node has everything",
        f"See: twofold state {MODULE}",
    )  # fmt: skip


def _join(machine: Machine, settings: Settings, token: str | None, server: str | None) -> None:
    if token is None or server is None:
        raise StepFailed(
            "this node is in no cluster yet, and there is no token",
            "As the first node says: twofold k3s second TOKEN --server IP --address IP/PREFIX",
        )
    words = ["twofold", "cluster", "join", server, "--token", "-", "--address", settings.own]
    machine.run(words, stdin=f"{token}\n", bound_s=90)


def _see_users(machine: Machine, settings: Settings) -> None:
    """The first node makes the datastore after it serves: this one may have everything before."""
    files = f"{settings.directory}/mysql"
    wait(
        machine, settings.wait_s, lambda: machine.owner(files) is not None,
        "the datastore is set up",
        "On the first node, `twofold k3s first` sets it up; run this again when it has.",
    )  # fmt: skip
    there, here = machine.owner(files), machine.user("mysql")
    if there == here:
        return
    raise StepFailed(
        f"the files of the datastore belong to user and group {there}, but mysql is {here} here",
        "Give mysql the numbers of the first node here: groupmod --gid G mysql; "
        "usermod --uid U mysql.",
    )
