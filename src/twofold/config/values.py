"""The types of single values in the configuration, and what all its tables share.

Each type refuses in a sentence that says what it takes instead.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, WithJsonSchema

from twofold.config.units import parse_duration_s, parse_size_bytes

NAME_PATTERN = re.compile(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?")


def _name(value: str) -> str:
    if NAME_PATTERN.fullmatch(value) is None:
        raise ValueError(
            f"{value!r} is not a name; use 1 to 32 of a-z, 0-9 and -, "
            "beginning and ending with a letter or digit"
        )
    return value


def _ip(value: str) -> str:
    try:
        return str(ipaddress.ip_address(value))
    except ValueError:
        raise ValueError(f"{value!r} is not an IP address, such as 10.0.0.1 or fd00::1") from None


def _ip_with_prefix(value: str) -> str:
    try:
        address = ipaddress.ip_interface(value)
    except ValueError:
        address = None
    if address is None or "/" not in value:
        raise ValueError(
            f"{value!r} is not an IP address with its prefix, such as 10.0.0.100/24 or fd00::100/64"
        )
    return str(address)


def split_host_port(value: str) -> tuple[str, int]:
    """("127.0.0.1", 80) of "127.0.0.1:80"; an IPv6 address stands in brackets."""
    host, colon, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not host or not port.isascii() or not port.isdigit():
        raise ValueError(f"{value!r} is not HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080")
    if not 1 <= int(port) <= 65535:
        raise ValueError(f"{value!r} has a port outside 1 to 65535")
    return host, int(port)


def _host_port(value: str) -> str:
    split_host_port(value)
    return value


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("must be longer than 0")
    return value


_DURATION_JSON = WithJsonSchema({"type": "string", "pattern": "^[0-9.]+ *(ms|s|min|h|d)$"})
_SIZE_JSON = WithJsonSchema({"type": "string", "pattern": "^(0|[0-9.]+ *([KMGT]i?)?B)$"})

Name = Annotated[str, AfterValidator(_name)]
Ip = Annotated[str, AfterValidator(_ip)]
IpWithPrefix = Annotated[str, AfterValidator(_ip_with_prefix)]
HostPort = Annotated[str, AfterValidator(_host_port)]
Duration = Annotated[
    float, BeforeValidator(parse_duration_s), AfterValidator(_positive), _DURATION_JSON
]
Size = Annotated[int, BeforeValidator(parse_size_bytes), _SIZE_JSON]


class Section(BaseModel):
    """What all tables share: unknown keys are refused, values never change once loaded."""

    model_config = ConfigDict(extra="forbid", frozen=True)
