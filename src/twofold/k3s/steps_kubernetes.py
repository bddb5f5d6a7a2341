"""K3s's part of an installation: its settings, its own installer, and the storage class.

K3s comes from its own installer, at the pinned version, or from the air-gap folder: install.sh, the
binary `k3s`, and its images. Nothing is fetched in any other way. What the installer is told goes
into files of mode 0600 before it runs; nothing secret is on a command line.
"""

from __future__ import annotations

import secrets as random
from collections.abc import Callable

from twofold.k3s import texts
from twofold.k3s.machine import Machine
from twofold.k3s.manifests import provisioner
from twofold.k3s.settings import API_PORT, K3S_INSTALLER, Settings
from twofold.k3s.step import Step, StepFailed, wait

INSTALL_BOUND_S = 1800.0
READY_WITHIN_S = 600.0
API_WITHIN_S = 3600.0
PROVISIONER_FILE = f"{texts.MANIFESTS}/twofold-volumes.yaml"

NodeReady = Callable[[], bool]


def steps(settings: Settings, is_first: bool, node_ready: NodeReady) -> tuple[Step, ...]:
    token_file = f"{settings.secrets}/token"
    server = "the token of K3s is in the replicated directory"
    return (
        Step(
            "token",
            server,
            lambda m: m.exists(token_file),
            lambda m: _make_token(m, token_file)
            if is_first
            else _await_token(m, token_file, settings.wait_s),
        ),
        *(() if is_first else (_first_answers(settings),)),
        Step(
            "settings",
            f"K3s's settings in {texts.CONFIG} and {texts.ENVIRONMENT}",
            lambda m: _settled(m, settings),
            lambda m: _settle(m, settings),
            _unsettle,
        ),
        Step(
            "order",
            "K3s comes up after Twofold and goes down before it; pods end before their volumes",
            lambda m: m.read(texts.DROP_IN) == texts.DROP_IN_TEXT
            and m.read(texts.PODS_UNIT) == texts.PODS_UNIT_TEXT,
            _order,
            _disorder,
        ),
        *_airgap_steps(settings),
        Step(
            "k3s",
            f"K3s {settings.k3s_version}, by its own installer",
            lambda m: installed_version(m) == settings.k3s_version
            and m.exists("/etc/systemd/system/k3s.service"),
            lambda m: _install(m, settings),
            _uninstall,
        ),
        Step(
            "ready",
            "K3s is ready on this node",
            lambda m: node_ready(),
            lambda m: wait(
                m, READY_WITHIN_S, node_ready, "K3s is ready here",
                "See: journalctl -u k3s; twofold k3s status",
            ),
        ),
        Step(
            "volumes",
            f"the storage class {provisioner.CLASS}, on the replicated volumes",
            lambda m: m.read(PROVISIONER_FILE) == provisioner.text(settings.ip, settings.mount),
            lambda m: m.write(
                PROVISIONER_FILE, provisioner.text(settings.ip, settings.mount), 0o600
            ),
            lambda m: m.remove(PROVISIONER_FILE),
        ),
    )  # fmt: skip


def installed_version(machine: Machine) -> str | None:
    """v1.36.2+k3s1 of `k3s version v1.36.2+k3s1 (abc)`."""
    words = machine.run([texts.BINARY, "--version"], check=False).out.split()
    return words[2] if words[:2] == ["k3s", "version"] and len(words) > 2 else None


def _first_answers(settings: Settings) -> Step:
    def answers(machine: Machine) -> bool:
        return machine.listens(settings.ip, API_PORT)

    return Step(
        "first-answers",
        f"the first node's K3s answers at {settings.ip}:{API_PORT}",
        answers,
        lambda m: wait(
            m, min(API_WITHIN_S, max(settings.wait_s, 1)), lambda: answers(m),
            f"K3s answers at {settings.ip}:{API_PORT}",
            "See on the first node how far `twofold k3s first` is.",
        ),
    )  # fmt: skip


def _make_token(machine: Machine, path: str) -> None:
    # It is also the passphrase of the certificate authorities in the datastore: made once, kept
    # where both nodes have it, and never made again.
    machine.write(path, random.token_hex(24) + "\n", 0o600)


def _await_token(machine: Machine, path: str, bound_s: float) -> None:
    """The first node makes it once it serves, which this one may see before it is made."""
    wait(
        machine, bound_s, lambda: machine.exists(path), f"there is a {path}",
        "On the first node, `twofold k3s first` makes it; run this again when it has.",
    )  # fmt: skip


def _secret(machine: Machine, settings: Settings, name: str) -> str:
    text = machine.read(f"{settings.secrets}/{name}")
    if not text:
        raise StepFailed(
            f"{settings.secrets}/{name} cannot be read",
            "It is in the replicated directory: see twofold state k3s.",
        )
    return text.strip()


def _config(machine: Machine, settings: Settings) -> str:
    password = _secret(machine, settings, "database")
    return texts.k3s_config(settings, password, _secret(machine, settings, "token"))


def _settled(machine: Machine, settings: Settings) -> bool:
    if not machine.exists(f"{settings.secrets}/database"):
        return False
    same = machine.read(texts.CONFIG) == _config(machine, settings)
    return same and texts.ENVIRONMENT_TEXT in (machine.read(texts.ENVIRONMENT) or "")


def _settle(machine: Machine, settings: Settings) -> None:
    machine.write(texts.CONFIG, _config(machine, settings), 0o600)
    there = machine.read(texts.ENVIRONMENT) or ""
    if texts.ENVIRONMENT_TEXT not in there:
        machine.write(texts.ENVIRONMENT, there + texts.ENVIRONMENT_TEXT, 0o600)


def _unsettle(machine: Machine) -> None:
    machine.remove(texts.CONFIG)
    rest = (machine.read(texts.ENVIRONMENT) or "").replace(texts.ENVIRONMENT_TEXT, "")
    if rest.strip():
        machine.write(texts.ENVIRONMENT, rest, 0o600)
    else:
        machine.remove(texts.ENVIRONMENT)


def _order(machine: Machine) -> None:
    machine.write(texts.DROP_IN, texts.DROP_IN_TEXT)
    machine.write(texts.PODS_UNIT, texts.PODS_UNIT_TEXT)
    machine.run(["systemctl", "daemon-reload"])
    machine.run(["systemctl", "enable", "--now", "twofold-k3s-pods.service"])


def _disorder(machine: Machine) -> None:
    # Its ExecStop ends the pods, as it must before K3s goes.
    machine.run(["systemctl", "disable", "--now", "twofold-k3s-pods.service"], check=False)
    machine.remove(texts.DROP_IN)
    machine.remove(texts.PODS_UNIT)
    machine.run(["systemctl", "daemon-reload"])


def _airgap_steps(settings: Settings) -> tuple[Step, ...]:
    if settings.airgap is None:
        return ()
    folder = settings.airgap

    def there(machine: Machine) -> bool:
        same = installed_version(machine) == settings.k3s_version
        return same and machine.exists(f"{texts.IMAGES}/.twofold")

    def place(machine: Machine) -> None:
        for name in ("install.sh", "k3s"):
            if not machine.exists(f"{folder}/{name}"):
                raise StepFailed(
                    f"{folder} has no {name}",
                    "It holds install.sh, k3s, and the images (*.tar.zst or *.tar): see the guide.",
                )
        machine.run(["install", "-D", "-m", "755", f"{folder}/k3s", texts.BINARY])
        found = installed_version(machine)
        if found != settings.k3s_version:
            raise StepFailed(
                f"{folder}/k3s is K3s {found}, not {settings.k3s_version}",
                f"Put that version there, or say --k3s-version {found}.",
            )
        machine.run(["mkdir", "-p", texts.IMAGES])
        names = ("-name", "*.tar", "-o", "-name", "*.tar.zst", "-o", "-name", "*.tar.gz")
        find = ["find", folder, "-maxdepth", "1", "-type", "f", "(", *names, ")"]
        images = machine.run(find).out.split()
        if images:
            machine.run(["cp", "--", *images, texts.IMAGES], bound_s=900)
        machine.write(f"{texts.IMAGES}/.twofold", "\n".join(images) + "\n")

    says = f"K3s and its images from {folder}"
    return (Step("air-gap", says, there, place),)


def _install(machine: Machine, settings: Settings) -> None:
    environment = {"INSTALL_K3S_VERSION": settings.k3s_version}
    if settings.airgap is not None:
        installer = f"{settings.airgap}/install.sh"
        environment["INSTALL_K3S_SKIP_DOWNLOAD"] = "true"
        environment["INSTALL_K3S_SKIP_SELINUX_RPM"] = "true"
    else:
        installer = "/var/lib/twofold/k3s-install.sh"
        fetched = machine.run(
            ["curl", "--fail", "--silent", "--show-error", "--location", "--proto", "=https",
             "--max-time", "60", K3S_INSTALLER], bound_s=70, check=False,
        )  # fmt: skip
        if fetched.code != 0 or not fetched.out.startswith("#!"):
            raise StepFailed(
                f"K3s's installer could not be fetched from {K3S_INSTALLER} ({fetched.last})",
                "Mend the network or set https_proxy; without network: --airgap DIR.",
            )
        machine.write(installer, fetched.out, 0o700)
    # With datastore-endpoint in its configuration no server is named: each speaks to the datastore.
    ran = machine.run(
        ["sh", installer, "server"], bound_s=INSTALL_BOUND_S, environment=environment, check=False
    )
    if ran.code != 0:
        raise StepFailed(
            f"K3s's installer failed: {ran.last}",
            "See: journalctl -u k3s. Then run the same command again: it goes on where it was.",
        )


def _uninstall(machine: Machine) -> None:
    script = "/usr/local/bin/k3s-uninstall.sh"
    if machine.exists(script):
        machine.run(["sh", script], bound_s=600)
