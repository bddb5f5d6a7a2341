"""The storage class: each claim becomes a directory of the replicated volumes.

nfs-subdir-external-provisioner, as plain objects: one image, no chart repository, no Helm job.
One replica, replaced (never two), without leader election, which in this version uses objects that
Kubernetes is giving up. A volume keeps the server's address for ever, so it is the virtual one.
"""

from __future__ import annotations

import string
from pathlib import Path

CLASS = "nfs-client"
IMAGE = "registry.k8s.io/sig-storage/nfs-subdir-external-provisioner:v4.0.2"


def text(server: str, path: str) -> str:
    template = Path(__file__).with_name("provisioner.yaml").read_text()
    return string.Template(template).substitute(
        server=server, path=path, image=IMAGE, storage_class=CLASS
    )
