"""The disk that the guests start from: a small Debian 12, made of the packages this machine's apt
knows.

What an image is made of is data (`PACKAGES`, `FILES`, `DISABLED`), and its digest is its name in
the cache, so that it is built once (some minutes) and again only when the recipe changes. Nothing
of Twofold is in it: the package under test comes later, as on a real server. `TWOFOLD_VM_CACHE`
moves the cache.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("TWOFOLD_VM_CACHE", "/var/cache/twofold-vm"))
SIZE = "6G"
BUILD_BOUND_S = 3600.0
KEEP_S = 7 * 24 * 3600.0

PACKAGES = (
    *("systemd-sysv", "udev", "dbus", "kmod", "iproute2", "procps", "psmisc", "openssh-server"),
    *("python3", "fuse3", "xfsprogs", "sqlite3", "ca-certificates", "attr", "adduser", "curl"),
    *("nfs-kernel-server", "nfs-common", "mariadb-server"),
    *("linux-image-amd64", "initramfs-tools"),
)
# What such a guest has no hardware for, and what nobody reads in it.
EXCLUDED = (
    *(f"/lib/modules/*/kernel/drivers/{d}/*" for d in ("gpu", "media", "infiniband", "iio")),
    *(f"/lib/modules/*/kernel/drivers/net/{d}/*" for d in ("wireless", "ethernet", "can")),
    "/lib/modules/*/kernel/sound/*",
    *(f"/usr/share/{d}/*" for d in ("doc", "locale", "info", "lintian")),
)
# They would start by themselves what Twofold is to start, or work while a test measures.
DISABLED = (
    *("mariadb.service", "nfs-server.service", "nfs-blkmap.service", "rpcbind.socket"),
    *("rpcbind.service", "rpc-statd-notify.service", "fstrim.timer", "e2scrub_all.timer"),
    *("apt-daily.timer", "apt-daily-upgrade.timer", "dpkg-db-backup.timer"),
    *("systemd-timesyncd.service", "getty@tty1.service", "logrotate.timer"),
)
_NETWORK = """\
#!/bin/sh
# Name and addresses of this guest, from the kernel's command line: vm.name=a vm.number=1
for word in $(cat /proc/cmdline); do
    case $word in
        vm.name=*) hostname "${word#vm.name=}"; echo "${word#vm.name=}" >/etc/hostname ;;
        vm.number=*) number=${word#vm.number=} ;;
    esac
done
ip link set lo up
ip address add 10.77.0.$number/24 brd + dev eth0
ip address add 10.77.1.$number/24 brd + dev eth1
ip link set eth0 up
ip link set eth1 up
"""
_NETWORK_UNIT = """\
[Unit]
Description=Name and addresses of this guest
DefaultDependencies=no
After=systemd-remount-fs.service systemd-udev-settle.service
Wants=network.target systemd-udev-settle.service
Before=network.target network-online.target ssh.service

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/vm-network

[Install]
WantedBy=multi-user.target network-online.target
"""
_SSHD = "UseDNS no\nUsePAM no\nPermitRootLogin prohibit-password\nMaxSessions 100\n"
FILES = {  # path -> (mode, text)
    "usr/local/sbin/vm-network": (0o755, _NETWORK),
    "etc/systemd/system/vm-network.service": (0o644, _NETWORK_UNIT),
    "etc/ssh/sshd_config.d/vm.conf": (0o644, _SSHD),
    "etc/hosts": (0o644, "127.0.0.1 localhost\n10.77.0.1 a\n10.77.0.2 b\n10.77.0.9 client\n"),
    "etc/initramfs-tools/conf.d/vm": (0o644, "MODULES=list\n"),
    "etc/initramfs-tools/modules": (0o644, "virtio_pci\nvirtio_blk\nvirtio_net\next4\n"),
    "etc/fstab": (0o644, "/dev/vda / ext4 defaults 0 1\n"),
    "etc/systemd/journald.conf.d/vm.conf": (0o644, "[Journal]\nStorage=persistent\n"),
}


@dataclass(frozen=True)
class Image:
    """What a guest starts from, and the key that opens it."""

    disk: Path
    kernel: Path
    initrd: Path
    key: Path


def recipe_digest() -> str:
    recipe = [SIZE, PACKAGES, EXCLUDED, DISABLED, sorted(FILES.items()), _script_after("$1")]
    return hashlib.sha256(json.dumps(recipe).encode()).hexdigest()[:16]


def image() -> Image:
    """The image of today's recipe, built if it is not in the cache."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        place = CACHE / recipe_digest()
        if not (place / "disk.img").exists():
            _drop_old()
            building = CACHE / "building"
            shutil.rmtree(building, ignore_errors=True)
            try:
                _build(building)
                building.rename(place)
            finally:
                shutil.rmtree(building, ignore_errors=True)
        os.utime(place)
    return Image(place / "disk.img", place / "vmlinuz", place / "initrd.img", place / "key")


def _drop_old() -> None:
    for place in CACHE.iterdir():
        if place.is_dir() and time.time() - place.stat().st_mtime > KEEP_S:
            shutil.rmtree(place, ignore_errors=True)


def _run(*argv: str | Path, input: str | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in argv],
        input=input,
        capture_output=True,
        text=True,
        timeout=BUILD_BOUND_S,
    )
    if done.returncode != 0:
        last = "\n".join(done.stderr.strip().splitlines()[-15:])
        raise RuntimeError(f"{argv[0]} failed ({done.returncode}):\n{last}")
    return done.stdout


def sources() -> str:
    """Where this machine has its Debian packages from: the guests have theirs from there too."""
    form = "deb $(SITE) $(CODENAME) $(COMPONENT)|$(ORIGIN)|$(CODENAME)"
    lines: set[str] = set()
    for line in _run("apt-get", "indextargets", "--format", form, "Created-By: Packages").split(
        "\n"
    ):
        entry, _, rest = line.partition("|")
        origin, _, codename = rest.partition("|")
        if origin == "Debian" and codename.startswith("bookworm"):
            lines.add(entry)
    if not lines:
        raise RuntimeError(
            "This machine's apt knows no Debian 12 (bookworm), of which the guests are made. "
            "Run tests/vm on Debian 12, or add its sources to /etc/apt/sources.list.d."
        )
    return "\n".join(sorted(lines)) + "\n"


def _script_after(root: str) -> str:
    """What is done in the new tree, after its packages are there."""
    return f"""
        mkdir -p {root}/root/.ssh {root}/srv {root}/var/log/journal
        chmod 700 {root}/root/.ssh
        chroot {root} systemctl mask -q {" ".join(DISABLED)}
        chroot {root} systemctl unmask -q mariadb.service nfs-server.service
        chroot {root} systemctl disable -q mariadb.service nfs-server.service
        chroot {root} systemctl enable -q vm-network.service
        : > {root}/etc/machine-id
        rm -f {root}/etc/resolv.conf {root}/var/lib/dbus/machine-id
        rm -rf {root}/var/lib/apt/lists/* {root}/var/cache/apt/*
    """


def _build(place: Path) -> None:
    """mmdebstrap makes the tree, mke2fs the disk; no mount is needed."""
    overlay, root = place / "overlay", place / "root"
    for name, (mode, text) in FILES.items():
        path = overlay / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
    _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "tests/vm", "-f", place / "key")
    (place / "after").write_text(f"#!/bin/sh\nset -e\n{_script_after('$1')}\n")
    (place / "after").chmod(0o755)
    _run(
        *("mmdebstrap", "--mode=root", "--variant=minbase", "--include", ",".join(PACKAGES)),
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in EXCLUDED),
        "--dpkgopt=force-confold",
        f'--setup-hook=cp -a {overlay}/etc/initramfs-tools "$1/etc/"',
        f'--customize-hook=cp -a {overlay}/. "$1/"',
        f"--customize-hook={place}/after",
        f'--customize-hook=cp {place}/key.pub "$1/root/.ssh/authorized_keys"',
        *("bookworm", root, "-"),
        input=sources(),
    )
    for name, wanted in (("vmlinuz", "vmlinuz-*"), ("initrd.img", "initrd.img-*")):
        shutil.copy(next((root / "boot").glob(wanted)), place / name)
    _run("mke2fs", "-q", "-t", "ext4", "-d", root, place / "disk.img", SIZE)
    shutil.rmtree(root)
    shutil.rmtree(overlay)


if __name__ == "__main__":
    print(image().disk)
