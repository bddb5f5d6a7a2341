"""The keys of cluster.toml, node.toml and module.toml: types, defaults and one line of help each.

This is the only place where a default stands. Times are seconds and sizes bytes once loaded, and
the attribute says so (`timeout_s`); in the file the key has no suffix and the value has the unit.
Build one from Python with the names of the file: `Heartbeat.model_validate({"timeout": "1s"})`.
`twofold.config.load` reads the files; `twofold.config.check` holds the rules between values.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, model_validator

from twofold.config.schema_arbitration import ArbitrationSection, WitnessSection
from twofold.config.schema_checkers import Checker
from twofold.config.schema_notify import NotifySection
from twofold.config.values import Duration, HostPort, Ip, IpWithPrefix, Name, Section, Size

_VARIABLE_PATTERN = re.compile(r"[a-z][a-z0-9_]{0,31}")

# --- cluster.toml -------------------------------------------------------------------------------


class Cluster(Section):
    """Who this cluster is."""

    name: Name = Field("site", description="The cluster's name, for people")
    id: str = Field(
        pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$",
        description="Made by `twofold cluster init`; never change it",
    )


class Heartbeat(Section):
    """How nodes notice each other's death."""

    interval_s: Duration = Field(
        0.2, alias="interval", description="Time between two heartbeats on each network"
    )
    timeout_s: Duration = Field(
        3.0, alias="timeout", description="A node silent on all networks this long is lost"
    )

    @model_validator(mode="after")
    def _room_for_losses(self) -> Heartbeat:
        if self.timeout_s < 4 * self.interval_s:
            raise ValueError(
                "timeout must be at least four intervals, or one lost datagram looks like a death"
            )
        return self


class Network(Section):
    """One network that connects the nodes; heartbeats go over all of them."""

    name: Name = Field(description="Used as key in each node's addresses")
    flow: StrictBool = Field(False, description="Replication prefers this network")


class ClusterNode(Section):
    """One server of the cluster."""

    name: Name = Field(description="The node's name, also in its certificate")
    addresses: dict[str, Ip] = Field(
        min_length=1, description='The node\'s own address on each network: { lan = "10.0.0.1" }'
    )


class ClusterConfig(Section):
    """cluster.toml, equal on all nodes."""

    cluster: Cluster
    heartbeat: Heartbeat = Field(default_factory=lambda: Heartbeat.model_validate({}))
    arbitration: ArbitrationSection = Field(
        default_factory=lambda: ArbitrationSection.model_validate({})
    )
    witnesses: tuple[WitnessSection, ...] = Field((), alias="witness", max_length=7)
    notify: tuple[NotifySection, ...] = Field((), max_length=16)
    networks: tuple[Network, ...] = Field(alias="network", min_length=1)
    nodes: tuple[ClusterNode, ...] = Field(alias="node", min_length=1)

    def node(self, name: str) -> ClusterNode:
        """The node of that name; KeyError when there is none."""
        for node in self.nodes:
            if node.name == name:
                return node
        raise KeyError(name)

    def networks_by_preference(self) -> tuple[str, ...]:
        """Network names, those for replication (`flow = true`) first."""
        preferred = [n.name for n in self.networks if n.flow]
        return tuple(preferred + [n.name for n in self.networks if not n.flow])


class NodeFile(Section):
    """node.toml, this node's own."""

    name: Name = Field(description="Which [[node]] of cluster.toml this machine is")
    watchdog: str | None = Field(
        None,
        pattern=r"^/dev/[a-z0-9/]+$",
        description="/dev/watchdog: armed while a module serves here; a hung daemon then resets "
        "the machine",
    )


# --- module.toml --------------------------------------------------------------------------------

Arbitration = Literal["none", "ping", "witness"]
ModuleKind = Literal["mirror", "farm", "light"]
Side = Literal["primary", "both", "second"]


class ModuleSection(Section):
    """What the module is and how it behaves when something fails."""

    kind: ModuleKind = Field(
        "mirror", description="mirror: two nodes, one serves; light: one node, no replication"
    )
    description: str = Field("", description="One line for people")
    nodes: tuple[Name, ...] = Field(
        (),
        max_length=64,
        description="Which nodes it lives on: two for a mirror; default: all of the cluster",
    )
    arbitration: Arbitration = Field(
        "none", description="Who decides when the nodes lose each other"
    )
    default_primary: str = Field(
        "none", description="none, last, or the node that takes the service back when it can"
    )
    failover: StrictBool = Field(
        True, description="The service moves by itself: when the primary is lost, stopped, or fails"
    )
    boot: StrictBool = Field(True, description="Start the module with the machine")
    max_loops: StrictInt = Field(
        3, ge=0, le=1000, description="Restarts and failovers within loop_interval before it stops"
    )
    loop_interval_s: Duration = Field(
        86400.0, alias="loop_interval", description="The time in which max_loops counts"
    )


class Replication(Section):
    """The directories that both nodes have."""

    directories: tuple[str, ...] = Field(
        min_length=1, max_length=16, description="Absolute paths of existing directories"
    )
    sync: Literal["write", "fsync"] = Field(
        "write",
        description="write: each write is on both nodes when it returns; fsync: each fsync is",
    )
    cache: Literal["kernel", "none"] = Field(
        "kernel",
        description="none: for databases and images of volumes, which have a cache of their own",
    )
    flow_encryption: Literal["on", "off"] = Field(
        "on",
        description="off: for a cable of its own only; who can touch it can read and change data",
    )
    dirty_map: StrictBool | None = Field(
        None,
        description="What changes is noted; a resync looks at that only. Default: unless `exclude`",
    )
    port: StrictInt | None = Field(
        None, ge=1024, le=65535, description="TCP port of the flow; given out by `module add`"
    )
    peer_timeout_s: Duration | None = Field(
        None,
        alias="peer_timeout",
        description="Writes wait this long for a silent peer; default: the heartbeat's timeout",
    )
    require: tuple[str, ...] = Field(
        (),
        max_length=16,
        description="Paths below each directory without which the module does not start",
    )
    exclude: tuple[str, ...] = Field(
        (),
        max_length=64,
        description="Paths that stay on each node: *.tmp, cache/, /logs/*.old, regex:^a/b$",
    )
    rescue_limit_bytes: Size = Field(
        10 << 30,
        alias="rescue_limit",
        description="All that may be kept of data that a resync overwrote, on each node",
    )
    rescue_keep: StrictInt = Field(
        5,
        ge=1,
        le=100,
        description="How many rescues are kept; the oldest makes room for a new one",
    )
    rescue_reserve_bytes: Size = Field(
        2 << 30,
        alias="rescue_reserve",
        description="Space left free on the disk of /var/lib/twofold, or a tenth of it if less",
    )
    rescue_when_full: Literal["stop", "go_on"] = Field(
        "stop",
        description="stop: without room nothing more is overwritten; go_on: the rest is lost",
    )
    verify_limit_bytes_per_s: Size = Field(
        0, alias="verify_limit", description="Bytes a second a verification may read; 0: no limit"
    )
    resync_limit_bytes_per_s: Size = Field(
        0,
        alias="resync_limit",
        description="Bytes a second a resync may send, also changed while running; 0: no limit",
    )

    @property
    def keeps_dirty_map(self) -> bool:
        """Where nothing is said: yes, but for modules with excluded paths, which it cannot have."""
        return not self.exclude if self.dirty_map is None else self.dirty_map


class Address(Section):
    """A virtual address: it is where the module serves."""

    ip: IpWithPrefix = Field(description="With the prefix of its network: 10.0.0.100/24")
    interface: str | None = Field(
        None, min_length=1, max_length=15, description="Default: the one with that network"
    )


class Ready(Section):
    """When a started service counts as started."""

    tcp: HostPort = Field(description="Start is done when this HOST:PORT accepts a connection")


class Service(Section):
    """A part of the application; started in the order of the file, stopped in reverse."""

    name: Name = Field(description="Unique in the module")
    command: tuple[str, ...] | None = Field(
        None, min_length=1, description="Program and arguments, kept running by twofoldd"
    )
    script: str | None = Field(
        None, pattern=r"^[A-Za-z0-9._-]+$", description="scripts/NAME, called with start or stop"
    )
    systemd: str | None = Field(None, min_length=1, description="A systemd unit")
    compose: str | None = Field(
        None,
        min_length=1,
        description="A compose file: in the module's scripts/, or an absolute path",
    )
    libvirt: str | None = Field(
        None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]*$",
        description="A virtual machine (domain), defined in libvirt on both nodes",
    )
    user: str | None = Field(None, min_length=1, description="Run the command as this user")
    directory: str | None = Field(None, min_length=1, description="Working directory")
    environment: dict[str, str] = Field(default_factory=dict, description="Added variables")
    side: Side = Field("primary", description="Where it runs: primary, second or both")
    start_timeout_s: Duration = Field(60.0, alias="start_timeout", description="Bound of a start")
    stop_timeout_s: Duration = Field(
        30.0, alias="stop_timeout", description="Bound of an orderly stop; then it is forced"
    )
    ready: Ready | None = Field(None, description='{ tcp = "127.0.0.1:8080" }')

    @model_validator(mode="after")
    def _one_way_to_run(self) -> Service:
        ways = ("command", "script", "systemd", "compose", "libvirt")
        given = [k for k in ways if getattr(self, k) is not None]
        if len(given) != 1:
            found = "has " + " and ".join(given) if given else "has none"
            raise ValueError(
                f"service {self.name!r} needs exactly one of {', '.join(ways)}; it {found}"
            )
        if self.command and not self.command[0].startswith("/"):
            raise ValueError(
                f"service {self.name!r}: the program must be an absolute path, "
                f"{self.command[0]!r} is not"
            )
        return self


class Variable(Section):
    """A variable of a library module that says what it is for; without `default` it is required."""

    default: str | None = Field(None, description="Used when --set does not give a value")
    help: str = Field("", description="What the variable is for")


def _variables(value: Any) -> Any:
    """`port = 3306` means the text "3306"; a table is a described variable."""
    if not isinstance(value, dict):
        return value
    for key in value:  # pyright: ignore[reportUnknownVariableType]
        if _VARIABLE_PATTERN.fullmatch(str(key)) is None:  # pyright: ignore[reportUnknownArgumentType]
            raise ValueError(f"{key!r} is not a variable's name; use a-z, 0-9 and _")
    plain: dict[Any, Any] = {
        k: str(v) if isinstance(v, int | float) and not isinstance(v, bool) else v
        for k, v in value.items()  # pyright: ignore[reportUnknownVariableType]
    }
    return plain


class ModuleConfig(Section):
    """module.toml, equal on all nodes."""

    module: ModuleSection = Field(default_factory=lambda: ModuleSection.model_validate({}))
    replication: Replication | None = None
    addresses: tuple[Address, ...] = Field((), alias="address", max_length=32)
    services: tuple[Service, ...] = Field((), alias="service", max_length=64)
    checkers: tuple[Checker, ...] = Field((), alias="checker", max_length=64)
    variables: Annotated[dict[str, str | Variable], BeforeValidator(_variables)] = Field(
        default_factory=dict, description="Replaced in texts where ${name} stands"
    )
