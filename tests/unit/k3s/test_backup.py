"""Backup and restore: whole or not at all, and the volumes are thawed however it ends."""

from __future__ import annotations

import json

import pytest

from tests.unit.k3s.server import Server
from twofold.errors import CommandRefused, MachineError, OperatorError
from twofold.k3s import backup

WHERE = ("/srv/k3s", "/srv/k3s-volumes")


def server(*fails: str) -> Server:
    made = Server()
    made.module = "PRIM"
    made.files |= {
        "/etc/twofold/node.toml": 'name = "a"\n',
        "/srv/k3s/volumes.img": "image",
        "/srv/k3s/secrets/database": "hunter2",
        "/srv/k3s/secrets/token": "t1",
    }
    made.fails |= set(fails)
    return made


def said(of: Server) -> list[str]:
    return [" ".join(words) for words, _, _ in of.commands]


def test_a_whole_backup_with_a_clone() -> None:
    a = server()
    done = backup.make(a, *WHERE, "/backup/1", pause=False)
    assert done.volumes and done.cloned
    assert json.loads(a.files["/backup/1/backup.json"])["volumes"] is True
    assert a.modes["/backup/1/secrets/token"] == 0o600
    words = said(a)
    frozen, thawed = (
        words.index(f"fsfreeze --{w} /srv/k3s-volumes") for w in ("freeze", "unfreeze")
    )
    copied = next(i for i, w in enumerate(words) if w.startswith("cp --sparse"))
    assert frozen < thawed < copied, "writers do not wait for the copy"
    assert "hunter2" not in "".join(words)


def test_without_clones_writers_wait_only_when_it_was_asked_for() -> None:
    a = server("cp")
    with pytest.raises(CommandRefused, match="--pause"):
        backup.make(a, *WHERE, "/backup/1", pause=False)
    assert said(a)[-1] == "fsfreeze --unfreeze /srv/k3s-volumes"
    assert "/backup/1/backup.json" not in a.files
    with pytest.raises(MachineError, match="cp has failed"):
        backup.make(a, *WHERE, "/backup/1", pause=True)
    assert said(a)[-1] == "fsfreeze --unfreeze /srv/k3s-volumes"
    assert "/backup/1/backup.json" not in a.files


def test_only_where_it_serves_and_never_over_another() -> None:
    a = server()
    a.files["/backup/1/backup.json"] = "{}"
    with pytest.raises(OperatorError, match="is a backup already"):
        backup.make(a, *WHERE, "/backup/1", pause=False)
    a.module = "SECOND"
    with pytest.raises(CommandRefused, match="does not serve"):
        backup.make(a, *WHERE, "/backup/2", pause=False)


def test_a_restore_goes_through_what_serves() -> None:
    a = server()
    backup.make(a, *WHERE, "/backup/1", pause=False)
    a.commands.clear()
    assert backup.restore(a, *WHERE, "/backup/1") == ["On both nodes: systemctl start k3s"]
    words = said(a)
    assert "mariadb --execute source /backup/1/datastore.sql" in words
    assert not [w for w in words if "twofold prim" in w], "replicated like every other write"
    assert "umount /run/twofold-k3s-restore" in words


def test_a_token_of_another_time_is_told() -> None:
    a = server()
    backup.make(a, *WHERE, "/backup/1", pause=False)
    a.files["/srv/k3s/secrets/token"] = "t2"
    following = backup.restore(a, *WHERE, "/backup/1")
    assert "The token is another one" in following[1]
    assert a.files["/srv/k3s/secrets/token"] == "t1"


def test_a_restore_refuses_what_would_harm() -> None:
    a = server()
    with pytest.raises(OperatorError, match="no whole backup"):
        backup.restore(a, *WHERE, "/backup/1")
    backup.make(a, *WHERE, "/backup/1", pause=False)
    a.active.add("k3s")
    with pytest.raises(CommandRefused, match=r"k3s-killall\.sh"):
        backup.restore(a, *WHERE, "/backup/1")
    a.active.clear()
    a.files["/srv/k3s-volumes/.before-restore/x"] = ""
    with pytest.raises(OperatorError, match="earlier restore"):
        backup.restore(a, *WHERE, "/backup/1")
