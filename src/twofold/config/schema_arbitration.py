"""The keys of cluster.toml that say who rules when the nodes lose each other."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from twofold.config.values import Duration, HostPort, Ip, Name, Section


class ArbitrationSection(Section):
    """Who rules when the nodes lose each other, for modules with `arbitration` ping or witness."""

    ping: tuple[Ip, ...] = Field(
        (), max_length=16, description="Addresses of routers or the like; one must answer"
    )
    timeout_s: Duration = Field(
        1.0, alias="timeout", description="Bound of one question to witnesses or ping addresses"
    )


class WitnessSection(Section):
    """A third opinion; when there are several, a majority of them decides."""

    name: Name = Field(description="Unique in the cluster, also among the nodes")
    kind: Literal["twofold", "etcd"] = Field(
        "twofold", description="twofold: a `twofold witness`; etcd: an etcd cluster"
    )
    address: HostPort | None = Field(None, description="twofold: HOST:PORT of the witness")
    endpoints: tuple[str, ...] = Field(
        (), max_length=16, description="etcd: its client URLs, http:// or https://"
    )
    ca: str | None = Field(None, description="etcd: file with the authority of its certificates")
    cert: str | None = Field(None, description="etcd: file with this cluster's client certificate")
    key: str | None = Field(None, description="etcd: file with the key of cert")

    @model_validator(mode="after")
    def _of_its_kind(self) -> WitnessSection:
        if self.kind == "twofold" and self.address is None:
            raise ValueError(f"witness {self.name!r} of kind twofold needs address")
        if self.kind == "etcd" and not self.endpoints:
            raise ValueError(f"witness {self.name!r} of kind etcd needs endpoints")
        if self.kind == "etcd" and self.address is not None:
            raise ValueError(f"witness {self.name!r} of kind etcd has no use for address")
        if self.kind == "twofold" and (self.endpoints or self.ca or self.cert or self.key):
            raise ValueError(f"witness {self.name!r} of kind twofold needs address only")
        for endpoint in self.endpoints:
            if not endpoint.startswith(("http://", "https://")):
                raise ValueError(f"{endpoint!r} is not a URL such as https://10.0.0.5:2379")
        if (self.cert is None) != (self.key is None):
            raise ValueError(f"witness {self.name!r}: cert and key belong together")
        return self
