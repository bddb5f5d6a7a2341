"""What the API says and takes. Fields only grow; one that is not known is null."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

RoleName = Literal["monitor", "control", "admin"]
Text = Annotated[str, StringConstraints(max_length=200)]
UserName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9._-]{0,31}$")]
Password = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Label = Annotated[str, StringConstraints(max_length=80)]


class Model(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Question(BaseModel):
    """What comes from outside: nothing unknown is taken."""

    model_config = ConfigDict(extra="forbid")


class Problem(Model):
    text: str
    file: str | None = None
    line: int | None = None
    column: int | None = None


class Error(Model):
    """Why not. `code` is for programs and stays; `text` and `mend` are for people."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "code": "refused",
                    "text": "files is STOP on b; there is nobody to swap with",
                    "mend": "Start it there first.",
                }
            ]
        }
    )
    code: str
    text: str
    mend: str = ""
    problems: list[Problem] = Field(
        default=[], description="With code `config`: each, with its place in the file"
    )


# --- people ---------------------------------------------------------------------------------------


class Login(Question):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "alice", "password": "four words in a row"}]},
    )
    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    password: Password


class Me(Model):
    name: str
    role: RoleName
    via: str
    csrf: str = Field(
        default="", description="To send as X-CSRF-Token with every change; empty for tokens"
    )


class TokenShown(Model):
    id: str
    label: str
    role: RoleName
    created_at: float
    ends_at: float | None


class TokenList(Model):
    tokens: list[TokenShown]


class UserShown(Model):
    user: str
    role: RoleName
    password_at: float
    tokens: list[TokenShown]


class UserList(Model):
    version: int
    users: list[UserShown]


class NewUser(Question):
    name: UserName
    role: RoleName = "monitor"
    password: Password


class UserChange(Question):
    role: RoleName | None = None
    password: Password | None = None


class OwnPassword(Question):
    password: Password = Field(description="The one that is valid now")
    new_password: Password


class NewToken(Question):
    label: Label = ""
    role: RoleName = "monitor"
    days: Annotated[int, Field(ge=1, le=3650)] | None = Field(
        default=90, description="null: until it is removed"
    )


class Changed(Model):
    version: int
    nodes: list[str] = Field(description="Have it now")
    later: list[str] = Field(description="Do not answer, and get it when they do")


class TokenMade(Changed):
    id: str
    token: str = Field(description="Shown this once")
    ends_at: float | None


class AuditRecord(Model):
    id: int
    node: str
    at: float
    who: str
    source: str
    via: str
    command: str
    module: str
    nodes: str
    result: str
    detail: str


class AuditList(Model):
    records: list[AuditRecord]


# --- modules --------------------------------------------------------------------------------------


class AddressState(Model):
    ip: str
    held: bool
    interface: str | None = None


class ServiceState(Model):
    name: str
    running: bool
    pid: int | None = None
    detail: str | None = None


class CheckerState(Model):
    name: str
    ok: bool | None = None
    text: str | None = None


class Resync(Model):
    """How far a copy has come; null where it is not known yet."""

    side: str | None = Field(default=None, alias="as", description="source or target")
    bytes_done: int | None = None
    bytes_total: int | None = None
    files_done: int | None = None
    files_total: int | None = None
    bytes_per_s: float | None = None
    seconds_left: float | None = None
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class Traffic(Model):
    operations_sent: int = 0
    bytes_sent: int = 0
    operations_applied: int = 0
    bytes_applied: int = 0
    pending_operations: int = 0
    parked_operations: int = 0
    link_silent_ms: float | None = None


class NodeModule(Model):
    """One module on one node."""

    node: str
    reachable: bool
    state: str | None = Field(
        default=None, description="STOP, WAIT, ALONE, PRIM, SECOND, UP; null unknown"
    )
    readiness: str | None = Field(default=None, description="NotReady, Transient or Ready")
    since_s: float | None = None
    sentence: str = ""
    next: str = ""
    up_to_date: bool = False
    epoch: int = 0
    generation: str | None = None
    addresses: list[AddressState] = []
    services: list[ServiceState] = []
    checkers: list[CheckerState] = []
    resync: Resync | None = None
    traffic: Traffic | None = None
    networks: dict[str, bool] = Field(
        default={}, description="Whether the other node is heard on each"
    )
    failovers: int = 0
    pending_configuration: bool = False


class Module(Model):
    """One module on all nodes."""

    module: str
    kind: str
    serving: str | None = Field(description="The node that serves it; null when none or two do")
    health: Literal["good", "degraded", "down", "stopped", "unknown"]
    sentence: str = Field(description="What is going on, in one sentence")
    next: str = Field(description="What to do next; empty when nothing is")
    nodes: list[NodeModule]


class ModuleList(Model):
    here: str = Field(description="The node that answers")
    modules: list[Module]


class Action(Question):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"node": "a"}, {"node": "b", "wait_s": 60}]}
    )
    node: Text | None = Field(default=None, description="Where; the node that answers when null")
    force: bool = Field(
        default=False, description="Only for prim: although the data is not up to date"
    )
    confirm: Text | None = Field(
        default=None, description="The module's name, where a refusal asks for it"
    )
    wait_s: Annotated[float, Field(ge=0, le=300)] = Field(
        default=0, description="Wait so long for the action's end; 0: answer when it is accepted"
    )


class ActionResult(Model):
    module: str
    node: str
    sentence: str
    state: str | None = None
    reached: bool | None = Field(default=None, description="With wait_s: whether the end was seen")


class Decision(Model):
    node: str
    at: float
    state: str
    event: str
    then: str
    sentence: str


class Why(Model):
    module: str
    decisions: list[Decision]


class LogEntry(Model):
    node: str
    id: int
    at: float
    module: str
    severity: str
    sentence: str


class Log(Model):
    entries: list[LogEntry]
    missing: list[str] = Field(description="Nodes that do not answer now")


class VerifyStart(Question):
    repair: bool = False


class Verify(Model):
    state: str | None = None
    why: str | None = None
    repair: bool = False
    files: int = 0
    bytes: int = 0
    differing: int = 0
    repaired: int = 0
    differences: list[dict[str, Any]] = []


class Estimate(Model):
    looks_at: str = Field(description="nothing, part or everything")
    why: str | None = Field(description="Why everything")
    names: int
    files: int
    bytes: int
    complete: bool = Field(description="False: there are more than were counted in 3 s")


class ResyncStart(Question):
    full: Literal[True] = Field(description="Compare everything by checksum")


class ResyncBegun(Model):
    module: str
    begins: str = Field(description="now, or later: when the other node comes")


class VerifyAnswer(Model):
    module: str
    verify: Verify | None = None


class Rescue(Model):
    node: str
    id: str
    facts: dict[str, Any]


class RescueList(Model):
    module: str
    rescues: list[Rescue]


class Confirm(Question):
    confirm: Text | None = None


class ModuleFiles(Model):
    module: str
    files: dict[str, str]
    directory: str
    digest: str | None = None


class Drifted(Model):
    target: str = Field(description="A module, or cluster.toml")
    node: str
    what: str = Field(description="edited, or differs")
    text: str
    mend: str


class Drift(Model):
    drift: list[Drifted]
    silent: list[str] = Field(description="Nodes that do not answer")


# --- cluster --------------------------------------------------------------------------------------


class ClusterNode(Model):
    node: str
    reachable: bool
    text: str = Field(default="", description="Why it does not answer")
    addresses: dict[str, str]
    version: str | None
    certificate_days: float | None
    certificate_trouble: str | None = Field(description="Why it cannot be renewed")
    consoles: list[str] = Field(description="Where its console is")


class Cluster(Model):
    name: str
    id: str
    here: str
    networks: list[str]
    nodes: list[ClusterNode]
    configuration_equal: bool


class Done(Model):
    ok: bool = True
