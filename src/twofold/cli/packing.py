"""`twofold module library|pack|unpack`: modules that come with Twofold, and modules as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from twofold.cli.output import console, print_json
from twofold.cli.session import AsJson, ModuleName, Session
from twofold.client import Client
from twofold.errors import OperatorError


def add_to(app: typer.Typer) -> None:
    for command in (library, pack, unpack):
        app.command(command.__name__)(command)


def library(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", show_default=False)] = None,
    as_json: AsJson = False,
) -> None:
    """The modules that come with Twofold, and what each variable means; of NAME also its text.

    Example: twofold module library mariadb
    """
    from twofold.config.library import LIBRARY, named
    from twofold.config.library import library as modules

    session = Session.of(context, None, as_json)
    wanted = [named(name)] if name is not None else list(modules())
    if session.as_json:
        print_json([vars(m) for m in wanted] if name is None else vars(wanted[0]))
        return
    screen = console()
    for m in wanted:
        screen.print(f"[bold]{m.name}[/]  {m.description}")
        for variable, (default, text) in m.variables.items():
            must = "must be given" if default is None else f"default {default!r}"
            screen.print(f"    --set {variable}=…  {text} ([dim]{must}[/])")
    if name is not None:
        needed = " ".join(f"--set {v}=…" for v, (d, _) in wanted[0].variables.items() if d is None)
        print(f"\nAdd it: twofold module add {name} {needed}".rstrip())
        print(f"\n{(LIBRARY / name / 'module.toml').read_text('utf-8').rstrip()}")


def pack(
    context: typer.Context,
    module: ModuleName,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="By itself here.")
    ] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Write MODULE, as it is on this node, into one file. It holds what module.toml says, also
    passwords in it.

    Example: twofold module pack shop -o /mnt/shelf/shop.module.tar.gz
    """
    from twofold.config.load import digest_of
    from twofold.wire.files import unpack as from_data
    from twofold.wire.packed import SUFFIX, packed

    session = Session.of(context, None, as_json)
    with Client() as client:
        files = from_data(client.ask("config_show", target=module)["packed"])
    target = output or Path(f"{module}{SUFFIX}")
    try:
        with target.open("xb") as file:
            target.chmod(0o600)
            file.write(packed(files))
    except FileExistsError:
        raise OperatorError(f"{target} is there already", "Name another: -o FILE") from None
    except OSError as e:
        raise OperatorError(f"{target} cannot be written: {e.strerror}") from None
    told = {"module": module, "file": str(target), "digest": digest_of(files), "files": list(files)}
    session.show([told], _print_packed)


def _print_packed(told: dict[str, Any]) -> None:
    print(f"Module {told['module']} is in {told['file']}, digest {told['digest']}.")


def unpack(
    context: typer.Context,
    source: Annotated[str, typer.Argument(metavar="FILE")],
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DIRECTORY", help="New; default: only show.")
    ] = None,
    digest: Annotated[
        str | None, typer.Option("--digest", metavar="HEX", help="Refuse anything else.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Look into a packed module, or unpack it to change it. To use it as it is: module add --from.

    Compare the digest with what `module pack` printed, when the file came by a way that others use.

    Example: twofold module unpack shop.module.tar.gz --into ./shop
    """
    from twofold.cli.library import read_archive
    from twofold.config.load import digest_of, parse_toml
    from twofold.wire.packed import unpacked

    session = Session.of(context, None, as_json)
    files = unpacked(read_archive(source), source)
    found = digest_of(files)
    if digest is not None and digest != found:
        raise OperatorError(
            f"{source} has digest {found}, not {digest}",
            "It was changed on its way; do not use it.",
        )
    parse_toml(files["module.toml"][1].decode("utf-8", "replace"), f"{source}: module.toml")
    if into is not None:
        _write(into, files)
    told = {"file": source, "digest": found, "into": str(into) if into else None,
            "files": {p: len(c) for p, (_, c) in files.items()}}  # fmt: skip
    session.show([told], _print_unpacked)


def _write(into: Path, files: dict[str, tuple[int, bytes]]) -> None:
    try:
        into.mkdir()
        for path, (mode, content) in files.items():
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            (into / path).write_bytes(content)
            (into / path).chmod(mode)
    except FileExistsError:
        raise OperatorError(f"{into} is there already", "Name a new directory.") from None
    except OSError as e:
        raise OperatorError(f"{into} cannot be written: {e.strerror}") from None


def _print_unpacked(told: dict[str, Any]) -> None:
    print(f"{told['file']}: digest {told['digest']}")
    for path, size in told["files"].items():
        print(f"  {path}  {size} bytes")
    if told["into"]:
        print(
            f"It is in {told['into']} now. Add it: twofold module add NAME --from {told['into']}/"
        )
