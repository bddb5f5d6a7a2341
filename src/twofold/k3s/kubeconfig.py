"""Access to a Kubernetes API as a kubeconfig file describes it. Pure: the file's text comes in.

K3s writes one for root (`/etc/rancher/k3s/k3s.yaml`), with a client certificate in it.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from twofold.errors import OperatorError

PATH = Path("/etc/rancher/k3s/k3s.yaml")


@dataclass(frozen=True)
class Access:
    server: str
    ca: bytes | None = None
    cert: bytes | None = field(default=None, repr=False)
    key: bytes | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)


def parse(text: str, file: str = str(PATH)) -> Access:
    """Of the current context. Raises `OperatorError` when it is no kubeconfig."""
    import yaml

    try:
        whole: Any = yaml.safe_load(text)
        contexts = _named(whole, "contexts", "context")
        current = contexts[whole.get("current-context") or next(iter(contexts))]
        cluster = _named(whole, "clusters", "cluster")[current["cluster"]]
        user = _named(whole, "users", "user")[current["user"]]
        return Access(
            server=str(cluster["server"]).rstrip("/"),
            ca=_data(cluster, "certificate-authority"),
            cert=_data(user, "client-certificate"),
            key=_data(user, "client-key"),
            token=user.get("token"),
        )
    except (yaml.YAMLError, LookupError, AttributeError, TypeError, StopIteration, ValueError) as e:
        said = f"{type(e).__name__}: {e}".splitlines()[0]
        raise OperatorError(f"{file} is no kubeconfig that can be used ({said})") from None


def _named(whole: Any, plural: str, singular: str) -> dict[str, Mapping[str, Any]]:
    return {str(each["name"]): cast(Mapping[str, Any], each[singular]) for each in whole[plural]}


def _data(section: Mapping[str, Any], name: str) -> bytes | None:
    inline = section.get(f"{name}-data")
    if inline is not None:
        try:
            return base64.b64decode(str(inline), validate=True)
        except binascii.Error as e:
            raise ValueError(f"{name}-data: {e}") from None
    path = section.get(name)
    return Path(path).read_bytes() if path else None
