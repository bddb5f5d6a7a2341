"""The web process's certificate: /etc/twofold/web, made and renewed by the daemon.

The web process is not a node, so it does not get a node's key: whoever took it over could
otherwise speak to the other node. Its certificate is of the same authority, good for a server
only, and names what people type: this node's name and addresses, and the virtual addresses of the
modules. It is renewed two months before its end, and when one of those names changes; the web
process notices the new file. Beside it lies `ca.crt`, for people to trust.

`own.crt` and `own.key` in the same directory take its place: somebody's own certificate.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

from twofold.adapters import pki
from twofold.config.load import NodeConfig, load_module, load_node, module_names
from twofold.daemon.users import web_group
from twofold.errors import ConfigError, TwofoldError

DIRECTORY = "web"
RENEW_BEFORE_DAYS = 60.0
LOOK_EVERY_S = 30.0
log = logging.getLogger("twofold.web_certificate")


def names_of(node: NodeConfig) -> tuple[str, ...]:
    """Every name and address under which somebody may open the console of this node."""
    found = [node.name, socket.gethostname(), socket.getfqdn(), "localhost", "127.0.0.1", "::1"]
    found += node.me.addresses.values()
    for name in module_names(node.etc):
        try:
            addresses = load_module(node.etc, name).config.addresses
        except ConfigError:
            continue
        found += [str(ipaddress.ip_interface(a.ip).ip) for a in addresses]
    return tuple(sorted({n for n in found if n and not n.endswith(".twofold")}))


def ensure(etc: Path) -> bool:
    """Make or renew it where needed; True when there is a new one."""
    node = load_node(etc)
    if node is None:
        return False
    place, names = etc / DIRECTORY, names_of(node)
    certificate, key = place / "web.crt", place / "web.key"
    if key.exists() and _serves(certificate, names):
        return False
    authority = pki.load_authority(node.pki)
    new_key = pki.create_key()
    request = pki.create_request(new_key, node.name)
    signed = pki.sign_web_request(authority, request, node.name, names)
    _make_directory(place)
    # The key last: a certificate without its key is replaced at the next look.
    key.unlink(missing_ok=True)
    pki.write_file(place / "ca.crt", authority.certificate, 0o644)
    pki.write_file(certificate, signed, 0o644)
    pki.write_file(key, new_key, 0o640, web_group())
    return True


def _make_directory(place: Path) -> None:
    place.mkdir(mode=0o755, exist_ok=True)
    place.chmod(0o755)


def _serves(certificate: Path, names: Iterable[str]) -> bool:
    try:
        pem = certificate.read_bytes()
    except OSError:
        return False
    fresh = pki.expires_in_days(pem) > RENEW_BEFORE_DAYS
    return fresh and set(names) <= pki.names_in(pem)


async def keep(etc: Path, note: Callable[[str, str, str], None]) -> None:
    """Looks from time to time, until cancelled; says once what goes wrong."""
    said = ""
    while True:
        try:
            if await asyncio.to_thread(ensure, etc):
                log.info("the console's certificate is new")
            said = ""
        except TwofoldError as e:
            if str(e) != said:
                text = f"the console's certificate cannot be made or renewed: {e}"
                note(text, "alarm", "certificate.ends")
            said = str(e)
        await asyncio.sleep(LOOK_EVERY_S)
