"""[[checker]]: the kinds of probes, which keys each has, and how a verdict is reached.

`KINDS` is the one table: what a kind must have, what it may have, and how often it asks when the
file does not say. `twofold.adapters.checkers` has one file for each kind.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import urlsplit

from pydantic import Field, StrictBool, StrictInt, model_validator

from twofold.config.values import Duration, HostPort, Ip, Name, Section, Size

CheckerKind = Literal[
    "process", "systemd", "tcp", "http", "ping", "interface", "address", "mount", "disk", "sql",
    "script", "module",
]  # fmt: skip
CheckerAction = Literal["restart", "failover", "stop", "wait", "none"]
SqlEngine = Literal["mariadb", "postgresql", "sqlite"]
CheckedSide = Literal["primary", "second", "both"]
HERE, ANYWHERE = "here", "any"


@dataclass(frozen=True)
class Keys:
    """What a kind needs and may have, besides what all have; and how often it asks."""

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    interval: str = "2s"
    timeout: str = "2s"


KINDS: dict[CheckerKind, Keys] = {
    "process": Keys(("service",)),
    "systemd": Keys(("unit",), interval="5s", timeout="5s"),
    "tcp": Keys(("address",)),
    "http": Keys(
        ("url",), ("status", "body", "tls_verify", "ca", "host_header"), interval="5s", timeout="5s"
    ),
    "ping": Keys(("host",)),
    "interface": Keys(("interface",)),
    "address": Keys((), ("ip",), interval="5s"),
    "mount": Keys((), ("path",), interval="5s", timeout="10s"),
    "disk": Keys(
        ("path",),
        ("free", "free_percent", "free_inodes_percent"),
        interval="30s",
        timeout="10s",
    ),
    "sql": Keys(
        ("engine",),
        ("host", "port", "user", "password_file", "database", "query", "expect", "run_as"),
        interval="10s",
        timeout="5s",
    ),
    "script": Keys(("script",), ("arguments", "run_as"), interval="10s", timeout="5s"),
    "module": Keys(("module",), ("node",), interval="5s", timeout="5s"),
}
_SPECIFIC = {key for keys in KINDS.values() for key in (*keys.needs, *keys.may)}


class Checker(Section):
    """A probe of the application or of what it stands on; which keys a kind has is said below."""

    name: Name = Field(description="Unique in the module")
    kind: CheckerKind = Field(description="What is asked")
    interval_s: Duration = Field(
        2.0, alias="interval", description="Time between two probes; the default is the kind's"
    )
    timeout_s: Duration = Field(
        2.0, alias="timeout", description="Bound of one probe; the default is the kind's"
    )
    failures: StrictInt = Field(
        2, ge=1, le=100, description="Failures that count, unless a spell of successes came between"
    )
    successes: StrictInt = Field(
        1, ge=1, le=100, description="Good probes in a row after which it is well again"
    )
    action: CheckerAction = Field("restart", description="What a failure leads to")
    side: CheckedSide = Field(
        "primary",
        description="Where it is asked: on the node that serves, on the secondary, or both; on the "
        "secondary a failure is an alarm and nothing more",
    )
    service: Name | None = Field(None, description="process: the service of this module")
    unit: str | None = Field(None, min_length=1, description="systemd: the unit")
    address: HostPort | None = Field(None, description="tcp: HOST:PORT to connect to")
    url: str | None = Field(None, description="http: what is fetched, http:// or https://")
    status: tuple[StrictInt, ...] = Field(
        (), max_length=32, description="http: answers that are well; default: 200 to 399"
    )
    body: str | None = Field(None, min_length=1, description="http: text the answer must have")
    tls_verify: StrictBool = Field(True, description="http: check the server's certificate")
    ca: str | None = Field(None, description="http: PEM file of the authority, not the system's")
    host_header: str | None = Field(
        None, min_length=1, description="http: the name asked for, also in TLS; default: the URL's"
    )
    host: str | None = Field(
        None,
        min_length=1,
        description="ping: name or address. sql: of the server; a path is its socket (mariadb) or "
        "the directory of it (postgresql)",
    )
    interface: str | None = Field(
        None, min_length=1, max_length=15, description="interface: that must have its link"
    )
    ip: Ip | None = Field(None, description="address: one of the module's; default: each")
    path: str | None = Field(
        None,
        pattern="^/",
        description="mount: what must answer; default: the replicated directories. disk: the file "
        "system with it",
    )
    free_bytes: Size | None = Field(None, alias="free", description="disk: that must be free")
    free_percent: StrictInt | None = Field(
        None, ge=1, le=99, description="disk: share that must be free; default 5 without `free`"
    )
    free_inodes_percent: StrictInt = Field(
        5, ge=0, le=99, description="disk: share of inodes that must be free; 0: not looked at"
    )
    engine: SqlEngine | None = Field(None, description="sql: whose client program asks")
    port: StrictInt | None = Field(None, ge=1, le=65535, description="sql: of the server")
    user: str | None = Field(None, min_length=1, description="sql: user of the database")
    password_file: str | None = Field(
        None, pattern="^/", description="sql: holds the password alone; nobody else may read it"
    )
    database: str | None = Field(
        None, min_length=1, description="sql: its name; for sqlite the path of the file"
    )
    query: str = Field("SELECT 1", min_length=1, description="sql: what is asked")
    expect: str | None = Field(None, description="sql: the first line of the answer")
    run_as: str | None = Field(
        None, min_length=1, description="sql, script: user of this machine; default root"
    )
    script: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9._-]+$",
        description="script: scripts/NAME; exit code 0 is well, the last line it prints is shown",
    )
    arguments: tuple[str, ...] = Field((), max_length=32, description="script: its arguments")
    module: Name | None = Field(None, description="module: that must serve")
    node: str = Field(
        HERE,
        description="module: where: here (this node), any (some node of the cluster), or a node",
    )

    @model_validator(mode="before")
    @classmethod
    def _times_of_its_kind(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        table = cast(dict[str, Any], given)
        keys = KINDS.get(cast(Any, table.get("kind")))
        if keys is None:
            return table
        return {"interval": keys.interval, "timeout": keys.timeout, **table}

    @model_validator(mode="after")
    def _keys_of_its_kind(self) -> Checker:
        keys = KINDS[self.kind]
        given = {type(self).model_fields[n].alias or n for n in self.model_fields_set}
        who = f"checker {self.name!r} of kind {self.kind}"
        for key in keys.needs:
            if key not in given:
                raise ValueError(f"{who} needs the key {key}")
        strange = sorted((given & _SPECIFIC) - {*keys.needs, *keys.may})
        if strange:
            has = ", ".join((*keys.needs, *keys.may))
            raise ValueError(f"{who} has no use for {strange[0]}; it has {has}")
        self._values_of_its_kind(who)
        return self

    def _values_of_its_kind(self, who: str) -> None:
        if self.url is not None:
            parts = urlsplit(self.url)
            if parts.scheme not in ("http", "https") or not parts.hostname:
                raise ValueError(f"{who}: url must be http://HOST/... or https://HOST/...")
            if parts.username or parts.password:
                raise ValueError(f"{who}: no user or password in the url, everyone could read it")
        if self.engine == "sqlite":
            if self.database is None or not self.database.startswith("/"):
                raise ValueError(f"{who} needs database = the absolute path of the sqlite file")
            for key in ("host", "port", "user", "password_file"):
                if getattr(self, key) is not None:
                    raise ValueError(f"{who} has no use for {key}: sqlite is a file")

    @property
    def free_share_percent(self) -> int:
        """disk: nothing said means 5 %; who says bytes means bytes."""
        if self.free_percent is not None:
            return self.free_percent
        return 5 if self.free_bytes is None else 0
