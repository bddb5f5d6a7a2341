"""When a new membership begins: another cluster does that, another certificate does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from twofold.daemon.cluster_files import cluster_files, with_new_certificate


@pytest.mark.parametrize("also_cluster", [False, True])
def test_a_new_certificate_hides_no_other_change(tmp_path: Path, also_cluster: bool) -> None:
    (tmp_path / "pki").mkdir()
    (tmp_path / "cluster.toml").write_text("one")
    (tmp_path / "pki" / "node.crt").write_text("old")
    known = cluster_files(tmp_path)
    (tmp_path / "pki" / "node.crt").write_text("new")
    if also_cluster:
        (tmp_path / "cluster.toml").write_text("two")
    changed = with_new_certificate(known, tmp_path) != cluster_files(tmp_path)
    assert changed is also_cluster
