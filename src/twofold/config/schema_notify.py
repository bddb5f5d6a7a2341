"""The keys of cluster.toml that say who is told when something happens.

What is secret (an URL with a password in it) stands in notify.toml on each node, mode 0600, under
the target's name: `twofold notify set NAME` writes it there.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field, StrictInt, model_validator

from twofold.config.values import Duration, Name, Section


class NotifySection(Section):
    """Who is told of events: by mail, chat, webhook or a script; sent once for the cluster."""

    name: Name = Field(description="Unique among the targets")
    kind: Literal["apprise", "webhook", "script"] = Field(
        "apprise", description="apprise: mail and chats, by URL; webhook: HTTP POST; script: yours"
    )
    severity: Literal["info", "alarm"] = Field("alarm", description="alarm: alarms only; info: all")
    modules: tuple[str, ...] = Field((), max_length=64, description="Only of these; default: all")
    events: tuple[str, ...] = Field(
        (), max_length=64, description='Only these, such as "state.*"; default: all'
    )
    url: str | None = Field(
        None, min_length=1, description="webhook: when nothing in it is secret; else: notify set"
    )
    template: str | None = Field(
        None, max_length=8192, description="webhook: the body; ${title} ${text} ${severity} ..."
    )
    script: str | None = Field(
        None, pattern=r"^/\S+$", description="script: the text comes on its standard input"
    )
    group_s: Duration = Field(
        5.0, alias="group", description="What happens within this time is one message"
    )
    per_hour: StrictInt = Field(
        30, ge=1, le=3600, description="No more messages in an hour; the next says how many events"
    )

    @model_validator(mode="after")
    def _of_its_kind(self) -> NotifySection:
        if (self.kind == "script") != (self.script is not None):
            raise ValueError(f"target {self.name!r}: kind script and the key script go together")
        if self.kind != "webhook" and (self.url or self.template):
            raise ValueError(f"target {self.name!r}: url and template are for kind webhook")
        if self.url and not self.url.startswith(("http://", "https://")):
            raise ValueError(f"target {self.name!r}: {self.url!r} is not http:// or https://")
        return self
