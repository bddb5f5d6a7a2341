"""`twofold user`: who may use the console and the API, and with which role.

A password is typed at a prompt or comes on standard input, and is hashed here: it is never an
argument, and never leaves this process.
"""

from __future__ import annotations

import sys
import time
from typing import Annotated, Any

import typer

from twofold.cli.output import console
from twofold.cli.session import AsJson, Session
from twofold.client import Client
from twofold.config.units import parse_duration_s
from twofold.errors import OperatorError
from twofold.wire.roles import ROLES

app = typer.Typer(no_args_is_help=True, help="Who may use the console and the API.")
token_app = typer.Typer(no_args_is_help=True, help="Keys for programs.")
app.add_typer(token_app, name="token")

UserName = Annotated[str, typer.Argument(metavar="NAME", show_default=False)]
RoleName = Annotated[
    str, typer.Option("--role", help="monitor (looks), control (starts, stops) or admin (all).")
]
FromStdin = Annotated[
    bool, typer.Option("--password-stdin", help="The password is a line on standard input.")
]


@app.command()
def add(
    context: typer.Context,
    name: UserName,
    role: RoleName = "monitor",
    password_stdin: FromStdin = False,
    generate: Annotated[
        bool, typer.Option("--generate", help="Make a password, and show it once.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """A new user, on all nodes.

    Example: twofold user add alice --role control
    """
    from twofold import passwords

    session = Session.of(context, None, as_json)
    _check_role(role)
    word = passwords.generate() if generate else _asked(name, password_stdin)
    digest = passwords.hashed(word)
    with Client() as client:
        answer = client.ask("user_add", user=name, role=role, password_hash=digest)
    if generate:
        answer["password"] = word
    session.show([answer], lambda a: _print_changed(f"{name} may log in now, as {role}.", a))


def _print_changed(sentence: str, answer: dict[str, Any]) -> None:
    print(sentence)
    if "password" in answer:
        print(f"The password, shown this once: {answer['password']}")
    if answer.get("later"):
        print(f"Not told yet, because they do not answer: {', '.join(answer['later'])}. "
              "They are told when they do.")  # fmt: skip


@app.command("list")
def list_(context: typer.Context, as_json: AsJson = False) -> None:
    """The users, their roles and how many tokens they have.

    Example: twofold user list
    """
    session = Session.of(context, None, as_json)
    with Client() as client:
        answer = client.ask("user_list")
    session.show([answer], _print_users)


def _print_users(answer: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for head in ("user", "role", "password since", "tokens"):
        table.add_column(head)
    for user in answer["users"]:
        table.add_row(
            user["user"], user["role"], _day(user["password_at"]), str(len(user["tokens"]))
        )
    console().print(table)


@app.command()
def role(
    context: typer.Context,
    name: UserName,
    role: Annotated[str, typer.Argument(metavar="ROLE", help="monitor, control or admin")],
    as_json: AsJson = False,
) -> None:
    """Another role for a user.

    Example: twofold user role alice control
    """
    session = Session.of(context, None, as_json)
    _check_role(role)
    with Client() as client:
        answer = client.ask("user_role", user=name, role=role)
    session.show([answer], lambda a: _print_changed(f"{name} is {role} now.", a))


@app.command()
def password(
    context: typer.Context,
    name: UserName,
    password_stdin: FromStdin = False,
    generate: Annotated[
        bool, typer.Option("--generate", help="Make a password, and show it once.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Another password; who is logged in with the old one is logged out.

    Example: twofold user password alice
    """
    from twofold import passwords

    session = Session.of(context, None, as_json)
    word = passwords.generate() if generate else _asked(name, password_stdin)
    with Client() as client:
        answer = client.ask("user_password", user=name, password_hash=passwords.hashed(word))
    if generate:
        answer["password"] = word
    session.show([answer], lambda a: _print_changed(f"{name} has a new password.", a))


@app.command()
def remove(context: typer.Context, name: UserName, as_json: AsJson = False) -> None:
    """Take a user away, with all tokens.

    Example: twofold user remove alice
    """
    session = Session.of(context, None, as_json)
    with Client() as client:
        answer = client.ask("user_remove", user=name)
    session.show([answer], lambda a: _print_changed(f"{name} may not log in any more.", a))


@token_app.command("add")
def token_add(
    context: typer.Context,
    name: UserName,
    label: Annotated[str, typer.Option("--label", help="What it is for.")] = "",
    role: RoleName = "monitor",
    ends: Annotated[
        str, typer.Option("--ends", metavar="DURATION", help="How long it works; 'never'.")
    ] = "90d",
    as_json: AsJson = False,
) -> None:
    """A token for a program: acts as NAME, with ROLE at most. Shown once.

    Example: twofold user token add alice --label prometheus --ends 365d
    """
    from twofold import passwords

    session = Session.of(context, None, as_json)
    _check_role(role)
    new = passwords.new_token()
    ends_at = None if ends == "never" else time.time() + _duration_s(ends)
    with Client() as client:
        answer = client.ask(
            "token_add", user=name, token=new.id, label=label, digest=new.digest, role=role,
            ends_at=ends_at,
        )  # fmt: skip
    answer |= {"id": new.id, "token": new.text, "ends_at": ends_at}
    session.show([answer], _print_token)


def _print_token(answer: dict[str, Any]) -> None:
    print(f"The token, shown this once: {answer['token']}")
    end = f"until {_day(answer['ends_at'])}" if answer["ends_at"] else "until it is removed"
    print(f"It works {end}. Use it as: Authorization: Bearer TOKEN")
    if answer.get("later"):
        print(f"Not told yet, because they do not answer: {', '.join(answer['later'])}.")


@token_app.command("list")
def token_list(context: typer.Context, name: UserName, as_json: AsJson = False) -> None:
    """A user's tokens; what they are is shown only when they are made.

    Example: twofold user token list alice
    """
    session = Session.of(context, None, as_json)
    with Client() as client:
        users = client.ask("user_list")["users"]
    found = next((u for u in users if u["user"] == name), None)
    if found is None:
        raise OperatorError(f"there is no user {name!r}", "See: twofold user list")

    def show(answer: dict[str, Any]) -> None:
        for token in answer["tokens"]:
            end = _day(token["ends_at"]) if token["ends_at"] else "never"
            print(f"{token['id']}  {token['role']:<8} ends {end:<11} {token['label']}")

    session.show([{"user": name, "tokens": found["tokens"]}], show)


@token_app.command("remove")
def token_remove(
    context: typer.Context,
    name: UserName,
    identity: Annotated[str, typer.Argument(metavar="ID", help="From: token list")],
    as_json: AsJson = False,
) -> None:
    """End a token at once.

    Example: twofold user token remove alice 1a2b3c4d
    """
    session = Session.of(context, None, as_json)
    with Client() as client:
        answer = client.ask("token_remove", user=name, token=identity)
    session.show([answer], lambda a: _print_changed(f"Token {identity} has ended.", a))


def _check_role(role: str) -> None:
    if role not in ROLES:
        raise OperatorError(f"{role!r} is not a role", f"Roles are {', '.join(ROLES)}.")


def _duration_s(text: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as mistake:
        raise OperatorError(f"--ends: {mistake}") from None


def _asked(name: str, from_stdin: bool) -> str:
    from twofold import passwords

    if from_stdin or not sys.stdin.isatty():
        word = sys.stdin.readline().rstrip("\n")
    else:
        word = str(typer.prompt(f"Password for {name}", hide_input=True, confirmation_prompt=True))
    passwords.check_strength(word, name)
    return word


def _day(at: float) -> str:
    return time.strftime("%Y-%m-%d", time.localtime(at)) if at else "-"
