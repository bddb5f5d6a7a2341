"""What this machine has, as far as a module's configuration names it: input of the checks."""

from __future__ import annotations

import ctypes
import errno
import os
import pwd
import shutil
import sys
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from twofold.config.load import Module
from twofold.config.programs import PROGRAMS
from twofold.config.question import Facts

_INTERFACES_IGNORED = ("lo",)
_AT_FDCWD = -100
_LIBC = ctypes.CDLL(None, use_errno=True)


def gather(module: Module, places: tuple[Path, ...]) -> Facts:
    """`places` are the directories in which this node keeps configuration, memory and run files."""
    replication = module.config.replication
    wanted = replication.directories if replication else ()
    users = {s.user for s in module.config.services if s.user is not None}
    users |= {c.run_as for c in module.config.checkers if c.run_as is not None}
    return Facts(
        directories={d: _real_directory(d) for d in wanted},
        networks=interface_networks(),
        users=frozenset(u for u in users if _user_exists(u)),
        scripts=_executables(module.scripts),
        reserved=(*(str(p) for p in places), sys.prefix),
        has_systemd=Path("/run/systemd/system").is_dir(),
        programs=frozenset(p for p in PROGRAMS if shutil.which(p) is not None),
        without_handles=frozenset(d for d in wanted if _gives_no_handles(d)),
        bad_pattern=_bad_pattern(replication.exclude) if replication else None,
    )


def interface_networks() -> dict[str, tuple[str, ...]]:
    """Interface -> its addresses with prefix, without loopback."""
    found: dict[str, tuple[str, ...]] = {}
    with IPRoute() as netlink:
        links: list[Any] = list(netlink.get_links())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        names = {link["index"]: str(link.get_attr("IFLA_IFNAME")) for link in links}
        addresses: list[Any] = list(netlink.get_addr())  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
        for message in addresses:
            name = names.get(message["index"], "")
            # On a point-to-point link IFA_ADDRESS is the other end; IFA_LOCAL is ours.
            ip = message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS")
            if name and name not in _INTERFACES_IGNORED and ip:
                found[name] = (*found.get(name, ()), f"{ip}/{message['prefixlen']}")
    return {name: found.get(name, ()) for name in names.values() if name != "lo"}


def _real_directory(directory: str) -> str | None:
    """A directory under a mount that hangs must not hang us: nothing inside it is opened."""
    try:
        return os.path.realpath(directory) if Path(directory).is_dir() else None
    except (OSError, ValueError):
        return None


def _gives_no_handles(directory: str) -> bool:
    """The engine needs file handles (open_by_handle_at); overlayfs, for one, has none."""
    handle = (ctypes.c_uint32 * 2)(0, 0)  # room for nothing: the kernel says how much it would take
    mount = ctypes.c_int(0)
    path = os.fsencode(directory)
    result = _LIBC.name_to_handle_at(_AT_FDCWD, path, handle, ctypes.byref(mount), 0)
    # Over a running module's directory our own mount answers; that module has passed this before.
    return result != 0 and ctypes.get_errno() == errno.EOPNOTSUPP and not Path(directory).is_mount()


def _bad_pattern(patterns: tuple[str, ...]) -> tuple[int, str] | None:
    """Only the engine knows what a pattern means."""
    if not patterns:
        return None
    from twofold import _mirror

    return _mirror.bad_pattern(list(patterns))


def _user_exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _executables(scripts: Path) -> frozenset[str]:
    if not scripts.is_dir():
        return frozenset()
    return frozenset(p.name for p in scripts.iterdir() if p.is_file() and os.access(p, os.X_OK))
