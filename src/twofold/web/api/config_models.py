"""What the API says and takes about configuration: files, what nodes think of them, versions."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import ConfigDict, Field, StringConstraints
from pydantic.config import JsonDict

from twofold.web.api.models import Changed, Model, Problem, Question, Text

WholeFile = Annotated[str, StringConstraints(max_length=1 << 20)]
Variables = Annotated[dict[Text, Annotated[str, StringConstraints(max_length=4096)]],
                      Field(max_length=100)]  # fmt: skip
BASE = (
    "The `digest` that the change was made from; refused with `changed_meanwhile` when something "
    "else is there now. `*`: whatever is there"
)


class File(Question):
    """A text, or base64 of what is none."""

    text: WholeFile | None = None
    base64: WholeFile | None = None
    executable: bool = False


Files = Annotated[dict[Text, File], Field(max_length=256)]
_EXAMPLE: JsonDict = {"module.toml": {"text": '[replication]\ndirectories = ["/srv/files"]\n'}}


class Target(Model):
    """A module's files, or cluster.toml, as they are on the node that answers."""

    target: str
    digest: str = Field(description="Changes with the files: the `base` of a change")
    files: dict[str, File]


class Asked(Question):
    files: Files | None = Field(
        default=None, description="All files of the target; null: those of the node that answers"
    )
    set: Variables = Field(default={}, description="Values of the module's variables")


class Check(Asked):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"files": _EXAMPLE}]})


class Apply(Asked):
    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"set": {"port": "8081"}, "base": "*", "why": "8080 is taken"}]
        },
    )
    base: Text = Field(description=BASE)
    why: Annotated[str, StringConstraints(max_length=500)] = Field(
        default="", description="Kept in the history"
    )
    dry_run: bool = Field(default=False, description="Only say what it would lead to")


class Rollback(Question):
    version: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = Field(
        default=None, description="null: the one before what is there now"
    )
    base: Text = Field(default="*", description=BASE)
    why: Annotated[str, StringConstraints(max_length=500)] = ""
    dry_run: bool = False


class Compare(Question):
    """With one of them; with none: what is there now against the last version applied."""

    files: Files | None = None
    version: Annotated[int, Field(ge=1, le=1_000_000_000)] | None = None
    node: Text | None = None


class NewModule(Question):
    """From the library, or of one's own files (POST /packs reads a packed module)."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"module": "db", "library": "mariadb", "set": {"address": "10.0.0.100/24"}}
            ]
        },
    )
    module: Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,40}$")]
    library: Text | None = None
    files: Files | None = None
    set: Variables = Field(default={})
    why: Annotated[str, StringConstraints(max_length=500)] = ""
    dry_run: bool = False


class Effect(Model):
    node: str
    key: str
    before: Any = None
    after: Any = None
    when: str = Field(description="now, next_start, stopped or never")
    text: str


class Opinion(Model):
    """What all nodes say about it; nothing was changed."""

    target: str
    nodes: list[str]
    problems: list[Problem]
    effects: list[Effect]


class Applied(Changed):
    """`version` is 0 and `digest` empty after a dry run."""

    target: str
    digest: str = Field(description="The `base` of the next change")
    dry_run: bool
    problems: list[Problem]
    effects: list[Effect]
    back_to: int | None = None


class VersionShown(Model):
    number: int
    at: float
    by: str
    why: str
    node: str
    digest: str
    removed: bool
    current: bool


class HistoryShown(Model):
    target: str
    edited: bool = Field(description="The files were edited on this node, and not applied")
    versions: list[VersionShown]


class FileDifference(Model):
    file: str
    what: str = Field(description="added, removed or changed")
    lines: str


class DiffShown(Model):
    target: str
    old: str = Field(alias="from")
    new: str = Field(alias="to")
    differences: list[FileDifference]
    model_config = ConfigDict(extra="ignore", populate_by_name=True)


class VariableShown(Model):
    name: str
    default: str | None = Field(description="null: it must be given")
    help: str


class LibraryEntry(Model):
    name: str
    description: str
    variables: list[VariableShown]


class LibraryShown(Model):
    modules: list[LibraryEntry]


class LibraryModuleShown(LibraryEntry):
    files: dict[str, File]


class Pack(Model):
    digest: str = Field(description="As `twofold module pack` printed it")
    files: dict[str, File]
    variables: list[VariableShown]


class WitnessShown(Model):
    name: str
    kind: str = "twofold"
    address: str | None = None
    endpoints: list[str] = Field(default=[])


class ArbitrationShown(Model):
    """Who rules when the nodes lose each other."""

    ping: list[str]
    timeout: str
    witnesses: list[WitnessShown]
