"""The three commands as lists of steps, from one set of settings."""

from __future__ import annotations

from twofold.k3s import steps_cluster, steps_kubernetes, steps_prereq
from twofold.k3s.machine import Machine
from twofold.k3s.settings import Settings
from twofold.k3s.step import Step, StepFailed
from twofold.k3s.steps_cluster import Tell
from twofold.k3s.steps_kubernetes import NodeReady


def prereq(directory: str, mount: str, airgap: str | None) -> tuple[Step, ...]:
    return steps_prereq.steps(directory, mount, airgap)


def _prepared(settings: Settings) -> Step:
    steps = steps_prereq.steps(settings.directory, settings.mount, settings.airgap)

    def missing(machine: Machine) -> list[str]:
        return [step.name for step in steps if not step.is_done(machine)]

    def refuse(machine: Machine) -> None:
        raise StepFailed(
            f"this node is not prepared: {', '.join(missing(machine))}", "Run: twofold k3s prereq"
        )

    return Step("prereq", "this node is prepared", lambda m: not missing(m), refuse)


def first(settings: Settings, tell: Tell, node_ready: NodeReady) -> tuple[Step, ...]:
    return (
        _prepared(settings),
        *steps_cluster.first(settings, tell),
        *steps_kubernetes.steps(settings, is_first=True, node_ready=node_ready),
    )


def second(
    settings: Settings, token: str | None, server: str | None, node_ready: NodeReady
) -> tuple[Step, ...]:
    return (
        _prepared(settings),
        *steps_cluster.second(settings, token, server),
        *steps_kubernetes.steps(settings, is_first=False, node_ready=node_ready),
    )
