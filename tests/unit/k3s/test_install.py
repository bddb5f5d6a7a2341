"""The installation on servers in memory: in order, resumable, and silent about secrets."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from importlib import resources
from typing import Any

import pytest
import yaml

from tests.unit.k3s.server import Server
from twofold.errors import MachineError
from twofold.k3s import plan, steps_cluster, texts
from twofold.k3s.settings import Settings
from twofold.k3s.step import RECORD, Outcome, Step, StepFailed, back, go, wait
from twofold.k3s.steps_kubernetes import PROVISIONER_FILE

PASSWORD = "hunter2hunter2"


def settings(**more: Any) -> Settings:
    given = Settings("10.0.0.100/24", "10.0.0.1", "eth0", router="10.0.0.254")
    return replace(given, **more)


def nothing(outcome: Outcome) -> None:
    """Nobody looks on."""


def prepared(server: Server) -> Server:
    go(plan.prereq("/srv/k3s", "/srv/k3s-volumes", None), server, nothing)
    return server


def first(server: Server, given: Settings | None = None) -> list[Outcome]:
    steps = plan.first(given or settings(), lambda line: None, lambda: True)
    return go(steps, server, nothing)


def second(server: Server, token: str | None = "tok-en", **more: Any) -> list[Outcome]:
    given = settings(own="10.0.0.2", **more)
    return go(plan.second(given, token, "10.0.0.1", lambda: True), server, nothing)


def words_of(server: Server) -> list[str]:
    return [" ".join(words) for words, _, _ in server.commands]


def test_prereq_makes_the_same_user_before_the_package_would() -> None:
    server = prepared(Server())
    assert server.users["mysql"] == (963, 963)
    said = words_of(server)
    made = next(i for i, w in enumerate(said) if w.startswith("useradd"))
    assert made < next(i for i, w in enumerate(said) if w.startswith("apt-get"))
    assert server.enabled == {"twofoldd"}
    assert "rpc-statd.service" in server.masked


def test_both_nodes_from_nothing_to_k3s() -> None:
    a = prepared(Server())
    assert all(o.result in ("done", "was done") for o in first(a))
    b = prepared(Server("10.0.0.2"))
    b.files["/etc/twofold/modules/k3s/module.toml"] = ""
    b.files["/srv/k3s/secrets/token"] = a.files["/srv/k3s/secrets/token"]
    b.open_ports.add(("10.0.0.100", 6443))
    assert all(o.result in ("done", "was done") for o in second(b))
    one, two = (yaml.safe_load(s.files[texts.CONFIG]) for s in (a, b))
    different = {key for key in one if one[key] != two[key]}
    assert different == {"node-ip"}
    assert a.files[PROVISIONER_FILE] == b.files[PROVISIONER_FILE]


def test_the_configuration_of_k3s() -> None:
    a = prepared(Server())
    first(a)
    config = yaml.safe_load(a.files[texts.CONFIG])
    assert config["tls-san"] == ["10.0.0.100"]
    assert config["node-ip"] == "10.0.0.1"
    assert config["datastore-endpoint"] == (
        f"mysql://k3s:{PASSWORD}@tcp(10.0.0.100:3306)/k3s"
        "?timeout=5s&readTimeout=15s&writeTimeout=15s"
    )
    for part in ("kube-controller-manager", "kube-scheduler", "kube-cloud-controller-manager"):
        assert "leader-elect-renew-deadline=75s" in config[f"{part}-arg"]
    assert "node-monitor-grace-period=90s" in config["kube-controller-manager-arg"]
    assert "CATTLE_ELECTION_RENEW_DEADLINE=75s" in a.files[texts.ENVIRONMENT]


def test_secrets_are_for_root_alone_and_on_no_command_line() -> None:
    a, b = prepared(Server()), prepared(Server("10.0.0.2"))
    first(a)
    token = a.files["/srv/k3s/secrets/token"].strip()
    b.files |= {
        "/srv/k3s/secrets/token": token,
        "/etc/twofold/modules/k3s/module.toml": "",
    }
    b.open_ports.add(("10.0.0.100", 6443))
    second(b)
    for server in (a, b):
        for secret in (PASSWORD, token, "tok-en"):
            assert not [w for w in words_of(server) if secret in w]
        for path, text in server.files.items():
            if (PASSWORD in text or token in text) and path in server.modes:
                assert server.modes[path] == 0o600, path
    joined = next(stdin for words, stdin, _ in b.commands if "join" in words)
    assert joined == "tok-en\n"


def test_a_second_run_changes_nothing() -> None:
    a = prepared(Server())
    first(a)
    before = dict(a.files)
    assert {o.result for o in first(a)} == {"was done"}
    assert a.files == before


def test_a_run_that_was_cut_goes_on_where_it_was() -> None:
    a = prepared(Server())
    a.fails.add("sh")
    with pytest.raises(StepFailed, match="K3s's installer failed"):
        first(a)
    kept = json.loads(a.files[RECORD])["steps"]
    assert kept[-1]["step"] == "k3s" and kept[-1]["result"] == "failed"
    token = a.files["/srv/k3s/secrets/token"]
    a.fails.clear()
    results = {o.step: o.result for o in first(a)}
    assert results["serving"] == "was done" and results["k3s"] == "done"
    assert a.files["/srv/k3s/secrets/token"] == token, "never made again"


def test_good_data_is_declared_once() -> None:
    a = prepared(Server())
    first(a)
    assert "twofold prim k3s" in words_of(a)
    a.files["/var/lib/twofold/k3s/generation"] = "1"
    a.module = ""
    a.commands.clear()
    del a.files["/srv/k3s/secrets/token"]
    with pytest.raises(StepFailed, match="the other node serves k3s") as told:
        first(a)  # this server's `start` makes it SECOND
    assert "twofold swap k3s" in str(told.value.mend)
    assert "twofold start k3s" in words_of(a)
    assert "twofold prim k3s" not in words_of(a)


def test_first_goes_on_after_the_module_has_moved() -> None:
    """Cut after the token was made; the other node serves by now."""
    a = prepared(Server())
    a.fails.add("sh")
    with pytest.raises(StepFailed, match="K3s's installer failed"):
        first(a)
    a.fails.clear()
    a.module = "SECOND"
    results = {o.step: o.result for o in first(a)}
    assert results["serving"] == "was done" and results["k3s"] == "done"


def test_dry_run_touches_nothing() -> None:
    a = Server()
    before = dict(a.files)
    steps = plan.prereq("/srv/k3s", "/srv/k3s-volumes", None)
    outcomes = go(steps, a, nothing, dry=True)
    assert {o.result for o in outcomes} == {"would be done"}
    assert a.files == before and not a.users and not a.packages


def test_first_on_an_unprepared_node_says_what_to_do() -> None:
    with pytest.raises(StepFailed, match="Run: twofold k3s prereq"):
        first(Server())


def test_first_without_waiting_says_how_to_go_on() -> None:
    a = prepared(Server(peer_joins=False))
    told: list[str] = []
    steps = plan.first(settings(wait_s=0), told.append, lambda: True)
    with pytest.raises(StepFailed, match="Run the same command here again"):
        go(steps, a, nothing)
    assert told[-1].strip() == (
        "twofold k3s second tok-en --server 10.0.0.1 --address 10.0.0.100/24"
    )


def test_second_refuses_another_number_of_mysql() -> None:
    b = Server("10.0.0.2")
    b.users["mysql"] = (112, 118)  # was there before
    prepared(b)
    b.files["/etc/twofold/modules/k3s/module.toml"] = ""
    with pytest.raises(StepFailed, match=r"\(963, 963\), but mysql is \(112, 118\) here"):
        second(b)


class StillSettingUp(Server):
    """What follows has everything, and the first node is only making its datastore."""

    def owner(self, path: str) -> tuple[int, int] | None:
        return super().owner(path) if self.time_s > 300.0 else None


def test_second_waits_for_the_datastore_to_be_set_up() -> None:
    b = StillSettingUp("10.0.0.2")
    prepared(b)
    b.files["/etc/twofold/modules/k3s/module.toml"] = ""
    b.files["/srv/k3s/secrets/token"] = "tok-en"
    b.open_ports.add(("10.0.0.100", 6443))
    assert [outcome.result for outcome in second(b)].count("failed") == 0
    assert 300.0 < b.time_s < 600.0


def test_second_tells_when_no_datastore_comes() -> None:
    b = StillSettingUp("10.0.0.2")
    prepared(b)
    b.files["/etc/twofold/modules/k3s/module.toml"] = ""
    with pytest.raises(StepFailed, match="still not so that the datastore is set up"):
        second(b, wait_s=60.0)


def test_second_without_a_token_says_which_command() -> None:
    with pytest.raises(StepFailed, match="twofold k3s second TOKEN"):
        second(prepared(Server("10.0.0.2")), token=None)


def test_arbitration_is_proposed_and_needs_somebody_to_ask() -> None:
    a = prepared(Server())
    first(a)
    assert "twofold cluster ping 10.0.0.254" in words_of(a)
    added = next(w for w in words_of(a) if "module add" in w)
    assert "arbitration=ping" in added
    with pytest.raises(StepFailed, match="--ping"):
        first(prepared(Server()), settings(router=None))
    with pytest.raises(StepFailed, match="twofold witness join"):
        first(prepared(Server()), settings(arbitration="witness"))


def test_air_gap_takes_everything_from_the_folder() -> None:
    a = prepared(Server())
    with pytest.raises(StepFailed, match=r"/media/k3s has no install.sh"):
        first(a, settings(airgap="/media/k3s"))
    for name in ("install.sh", "k3s", "k3s-airgap-images-amd64.tar.zst"):
        a.files[f"/media/k3s/{name}"] = "v1.36.2+k3s1"
    with pytest.raises(StepFailed, match=r"is K3s v1\.36\.2\+k3s1, not v1\.37\.0"):
        first(a, settings(airgap="/media/k3s", k3s_version="v1.37.0+k3s1"))
    first(a, settings(airgap="/media/k3s"))
    words, _, environment = next(c for c in a.commands if c[0][0] == "sh")
    assert list(words) == ["sh", "/media/k3s/install.sh", "server"]
    assert environment["INSTALL_K3S_SKIP_DOWNLOAD"] == "true"
    assert not [w for w in words_of(a) if w.startswith("curl")]
    a.files["/media/k3s/k3s"] = "v1.36.3+k3s1"
    newer = settings(airgap="/media/k3s", k3s_version="v1.36.3+k3s1")
    assert {o.step: o.result for o in first(a, newer)}["air-gap"] == "done", "an upgrade"


def test_the_version_is_pinned() -> None:
    a = prepared(Server())
    first(a, settings(k3s_version="v1.35.4+k3s1"))
    environment = next(e for w, _, e in a.commands if w[0] == "sh")
    assert environment["INSTALL_K3S_VERSION"] == "v1.35.4+k3s1"
    results = {o.step: o.result for o in first(a, settings(k3s_version="v1.35.5+k3s1"))}
    assert results["k3s"] == "done", "another version is installed over it"


def test_uninstall_takes_away_what_is_ours_and_leaves_the_data() -> None:
    a = prepared(Server())
    a.files[texts.ENVIRONMENT] = "MINE=1\n"
    first(a)
    steps = plan.first(settings(), lambda line: None, lambda: True)
    outcomes = back(steps, a, nothing)
    assert {o.result for o in outcomes} == {"undone"}
    for gone in (texts.CONFIG, texts.DROP_IN, texts.PODS_UNIT, PROVISIONER_FILE, RECORD):
        assert gone not in a.files
    assert a.files[texts.ENVIRONMENT] == "MINE=1\n"
    assert a.files["/srv/k3s/secrets/database"] == PASSWORD


def test_a_step_that_did_not_help_has_failed() -> None:
    useless = Step("s", "says", lambda m: False, lambda m: None)
    with pytest.raises(StepFailed, match="still not so"):
        go((useless,), Server(), nothing)


def test_looks_that_take_long_leave_the_machine_to_what_is_waited_for() -> None:
    server, looks = Server(), 0

    def slow() -> bool:
        nonlocal looks
        looks += 1
        server.sleep(15.0)
        return False

    with pytest.raises(StepFailed, match="still not so that it serves"):
        wait(server, 600.0, slow, "it serves")
    assert looks * 15.0 < 600.0 / 2


def test_first_waits_as_long_as_the_services_may_take() -> None:
    module = tomllib.loads((resources.files("twofold") / "library/k3s/module.toml").read_text())
    bounds = [each.get("start_timeout", "60s") for each in module["service"]]
    assert sum(float(bound.removesuffix("s")) for bound in bounds) < steps_cluster.SERVE_WITHIN_S


def test_a_failure_ends_the_run() -> None:
    def fail(machine: object) -> None:
        raise MachineError("no disk")

    steps = (Step("x", "x", lambda m: False, fail), Step("y", "y", lambda m: False, fail))
    seen: list[Outcome] = []
    with pytest.raises(MachineError, match="no disk"):
        go(steps, Server(), seen.append)
    assert [o.step for o in seen] == ["x"]
