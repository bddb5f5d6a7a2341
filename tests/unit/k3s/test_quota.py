"""Each volume gets the size of its claim: only what is not so yet is changed, the limit last."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from twofold.errors import MachineError, OperatorError
from twofold.k3s import quota
from twofold.k3s.machine import Ran, ThisMachine
from twofold.k3s.quota import FIRST_PROJECT, Limit, Mark, Usage, Volume

MOUNT = "/srv/k3s-volumes"
MIB = 1 << 20
WEB, LOG = Volume(f"{MOUNT}/web", 20 * MIB), Volume(f"{MOUNT}/log", 10 * MIB)


class Xfs(ThisMachine):
    """A mounted XFS as its programs show it: directories, their projects, limits."""

    def __init__(self, *directories: str, options: str = "rw,noatime,prjquota") -> None:
        self.projects = dict.fromkeys(directories, 0)
        self.usage: dict[int, Usage] = {0: Usage(8, 0)}
        self.options = options
        self.commands: list[str] = []
        self.fails = ""

    def run(
        self,
        words: Sequence[str],
        *,
        bound_s: float = 60.0,
        stdin: str = "",
        environment: Mapping[str, str] | None = None,
        check: bool = True,
    ) -> Ran:
        ran = self._do(list(words))
        if check and ran.code:
            raise MachineError(f"`{words[0]}` failed: {ran.last}")
        return ran

    def _do(self, words: list[str]) -> Ran:
        match words:
            case ["findmnt", *_]:
                return Ran(0, f"{self.options}\n", "")
            case ["lsattr", "-d", "-p", "--", *wanted]:
                there = [
                    f"{self.projects[w]:>5} ---P----- {w}" for w in wanted if w in self.projects
                ]
                lacking = [w for w in wanted if w not in self.projects]
                return Ran(1 if lacking else 0, "\n".join(there), "lsattr: No such file\n")
            case ["xfs_quota", "-x", "-c", command, place] if place == MOUNT:
                return self._quota(command)
            case _:
                raise AssertionError(words)

    def _quota(self, command: str) -> Ran:
        if command == "report -p -b -N -n":
            lines = [
                f"#{p:<10} {u.used_kib:>10} {0:>10} {u.limit_kib:>10}     00 [--------]"
                for p, u in self.usage.items()
            ]
            return Ran(0, "\n".join(["", *lines, ""]), "")
        self.commands.append(command)
        if self.fails and self.fails in command:
            return Ran(1, "", "xfs_quota: cannot set limits: Input/output error")
        if marked := re.fullmatch(r"project -s -p (\S+) (\d+)", command):
            self.projects[marked[1]] = int(marked[2])
            self.usage.setdefault(int(marked[2]), Usage(4, 0))
        elif limited := re.fullmatch(r"limit -p bhard=(\d+)k (\d+)", command):
            used = self.usage.get(int(limited[2]), Usage(0, 0)).used_kib
            self.usage[int(limited[2])] = Usage(used, int(limited[1]))
        else:
            raise AssertionError(command)
        return Ran(0, "", "")


def test_a_new_volume_is_marked_and_then_limited_and_left_alone_from_then_on() -> None:
    machine = Xfs(WEB.directory, LOG.directory)
    said = quota.limit(machine, MOUNT, [WEB, LOG])
    assert machine.commands == [
        f"project -s -p {LOG.directory} {FIRST_PROJECT}",
        f"limit -p bhard=10240k {FIRST_PROJECT}",
        f"project -s -p {WEB.directory} {FIRST_PROJECT + 1}",
        f"limit -p bhard=20480k {FIRST_PROJECT + 1}",
    ]
    assert said == [f"{LOG.directory} may hold 10 MiB", f"{WEB.directory} may hold 20 MiB"]
    machine.commands.clear()
    assert quota.limit(machine, MOUNT, [WEB, LOG]) == []
    assert machine.commands == []


def test_another_size_is_another_limit_and_nothing_is_marked_again() -> None:
    machine = Xfs(WEB.directory)
    quota.limit(machine, MOUNT, [WEB])
    machine.commands.clear()
    quota.limit(machine, MOUNT, [Volume(WEB.directory, 40 * MIB)])
    assert machine.commands == [f"limit -p bhard=40960k {FIRST_PROJECT}"]


def test_a_marking_that_was_interrupted_is_done_again_with_the_same_number() -> None:
    machine = Xfs(WEB.directory)
    machine.fails = "project"
    (said,) = quota.limit(machine, MOUNT, [WEB])
    assert said.startswith(f"no limit for {WEB.directory}: ")
    assert machine.commands == [f"project -s -p {WEB.directory} {FIRST_PROJECT}"], "no limit before"
    # The directory itself was marked before it was cut off.
    machine.projects[WEB.directory], machine.fails = FIRST_PROJECT, ""
    machine.usage[FIRST_PROJECT] = Usage(4, 0)
    machine.commands.clear()
    quota.limit(machine, MOUNT, [WEB])
    assert machine.commands == [
        f"project -s -p {WEB.directory} {FIRST_PROJECT}",
        f"limit -p bhard=20480k {FIRST_PROJECT}",
    ]


def test_what_is_kept_of_a_volume_keeps_its_limit_until_it_is_empty() -> None:
    kept = {WEB.directory: FIRST_PROJECT}
    usage = {FIRST_PROJECT: Usage(100, 20480)}
    assert quota.plan([], kept, usage) == []
    # A new volume never gets the number of one that is kept.
    assert quota.plan([LOG], {LOG.directory: 0}, usage) == [
        Mark(LOG.directory, FIRST_PROJECT + 1),
        Limit(LOG.directory, FIRST_PROJECT + 1, 10240),
    ]
    assert quota.plan([], {}, {FIRST_PROJECT: Usage(0, 20480)}) == [Limit("", FIRST_PROJECT, 0)]
    assert quota.plan([], {}, {FIRST_PROJECT: Usage(0, 0), 7: Usage(0, 100)}) == []


def test_two_directories_of_one_project_become_two() -> None:
    """One was copied with its attributes."""
    usage = {FIRST_PROJECT: Usage(100, 10240)}
    both = {LOG.directory: FIRST_PROJECT, WEB.directory: FIRST_PROJECT}
    assert quota.plan([WEB, LOG], both, usage) == [
        Mark(WEB.directory, FIRST_PROJECT + 1),
        Limit(WEB.directory, FIRST_PROJECT + 1, 20480),
    ]


def test_a_volume_whose_directory_is_not_there_yet_waits() -> None:
    machine = Xfs()
    assert quota.limit(machine, MOUNT, [WEB]) == []
    assert machine.commands == []


def test_a_name_that_would_be_words_of_a_command_is_refused() -> None:
    odd = Volume(f"{MOUNT}/a b", MIB)
    machine = Xfs(odd.directory)
    (said,) = quota.limit(machine, MOUNT, [odd])
    assert "has a character that xfs_quota cannot take" in said
    assert machine.commands == []


@pytest.mark.parametrize(
    ("options", "can"), [("rw,noatime,prjquota", True), ("rw,noquota", False), ("", False)]
)
def test_without_quotas_in_the_kernel_nothing_is_tried(options: str, can: bool) -> None:
    assert quota.can_limit(Xfs(options=options), MOUNT) is can


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("10Gi", 10 << 30),
        ("500M", 500_000_000),
        ("1.5Ti", 3 << 39),
        ("1e9", 10**9),
        ("2E3", 2000),
        ("1E", 10**18),
        ("100m", 1),
        ("42", 42),
        (".5Ki", 512),
    ],
)
def test_sizes_as_kubernetes_writes_them(text: str, wanted: int) -> None:
    assert quota.quantity_bytes(text, "x") == wanted


@pytest.mark.parametrize("text", ["", "10 Gi", "Gi", "-1", "10Gib", "1e", "0x10"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(OperatorError, match=r"the volume web: .* is no size, such as 10Gi"):
        quota.quantity_bytes(text, "the volume web")


def volume(path: str, server: str = "10.0.0.100", storage: str = "20Mi") -> dict[str, Any]:
    return {"spec": {"capacity": {"storage": storage}, "nfs": {"server": server, "path": path}}}


def test_only_volumes_of_this_server_directly_below_its_export_are_meant() -> None:
    found = quota.volumes_of(
        [
            volume(f"{MOUNT}/web"),
            volume(MOUNT),  # the provisioner's own
            volume(f"{MOUNT}/a/b"),
            volume(f"{MOUNT}/.."),
            volume(f"{MOUNT}/other", server="10.0.0.9"),
            {"spec": {"capacity": {"storage": "1Gi"}, "hostPath": {"path": f"{MOUNT}/web"}}},
        ],
        "10.0.0.100",
        MOUNT,
    )
    assert found == [WEB]
