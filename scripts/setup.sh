#!/bin/bash
# Makes this checkout ready: Debian packages, Python environment in .venv, Rust build in release mode.
#
#   scripts/setup.sh [build|lab|test|browser|vm|check|bench|kine]
#
# build: what `twofold` itself needs. lab: also what running nodes on this machine needs (root, FUSE).
# test: also the applications that the tests run on a replicated directory. browser: also a browser. vm: also qemu and what makes its images. check: also the linters. bench, kine: also the programs that are compared or tortured.
#
# It looks at everything first and says at once what is missing; only then it changes something. When all is
# there it ends in well under three seconds: each step leaves a stamp in .venv/stamps and is skipped while
# what the step was made from is unchanged.

set -euo pipefail
cd "$(dirname "$0")/.."
purpose=${1:-build}
stamps=.venv/stamps

say() { echo "setup: $*"; }
refuse() { # sentence...
    printf 'setup: %s\n' "$@" >&2
    exit 1
}

# --- look first --------------------------------------------------------------------------------------

check_machine() {
    [ "$(uname -s)" = Linux ] || refuse "this is $(uname -s); Twofold runs on Linux only."
    local kernel
    kernel=$(uname -r | grep -oE '^[0-9]+\.[0-9]+')
    if [ "$(printf '%s\n' 5.15 "$kernel" | sort -V | head -1)" != 5.15 ]; then
        refuse "the kernel is $kernel, Twofold needs 5.15 or newer." \
            "Mend: upgrade the distribution (Debian 12, Ubuntu 22.04 or newer), or install its newer kernel."
    fi
    if [ "$purpose" = build ] || [ "$purpose" = check ]; then return 0; fi
    [ "$(id -u)" = 0 ] || refuse "mounts and network namespaces need root." "Mend: run this as root (sudo make ...)."
    if [ ! -c /dev/fuse ]; then
        modprobe fuse 2>/dev/null || true
        [ -c /dev/fuse ] || refuse "/dev/fuse is missing: the kernel has no FUSE here." \
            "Mend: modprobe fuse; in a container, pass the device /dev/fuse and CAP_SYS_ADMIN into it."
    fi
    unshare --net --mount true 2>/dev/null || refuse "this machine forbids new network and mount namespaces." \
        "Mend: run on a real or virtual machine, or in a container with CAP_SYS_ADMIN."
}

missing=()
need() { # package, test that passes when it is there
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
has() { PATH="$PATH:/usr/sbin:/sbin" command -v "$1"; }

find_python() { # the first Python that is new enough and can make environments
    local name
    for name in python3 python3.11 python3.12 python3.13 python3.14; do
        if "$name" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$name"
            return 0
        fi
    done
    return 1
}

candidate() { # the version that apt would install, or nothing
    apt-cache policy "$1" 2>/dev/null | awk '/Candidate:/ && $2 != "(none)" {print $2}'
}

new_enough() { [ -n "$2" ] && [ "$(printf '%s\n' "$1" "$2" | sort -V | head -1)" = "$1" ]; }

rust_packages() { # which packages bring a Rust of at least 1.85, best first
    local numbered
    if new_enough 1.85 "$(candidate rustc)"; then
        echo rustc cargo rust-clippy rustfmt
    elif new_enough 1.85 "$(candidate rustc-web)"; then
        echo rustc-web cargo-web rust-web-clippy rustfmt-web
    else
        numbered=$(apt-cache search --names-only '^rustc-1\.[0-9]+$' | awk '{print $1}' | sort -V | tail -1)
        numbered=${numbered#rustc-}
        if new_enough 1.85 "$numbered"; then
            echo "rustc-$numbered cargo-$numbered rust-$numbered-clippy rustfmt-$numbered"
        fi
    fi
}

list_missing() {
    need gcc has gcc
    need libc6-dev test -e /usr/include/stdio.h
    need make has make
    need git has git
    need ca-certificates test -e /etc/ssl/certs/ca-certificates.crt
    if [ "$purpose" = check ]; then need spin has spin; fi
    if [ "$purpose" = build ] || [ "$purpose" = check ]; then return 0; fi
    need fuse3 has fusermount3
    need iproute2 has ip
    need e2fsprogs has mkfs.ext4
    need xfsprogs has mkfs.xfs
    need util-linux has unshare
    need procps has ps
    need mount has losetup
    need attr has getfattr
    need acl has getfacl
    if [ "$purpose" = test ]; then
        need sqlite3 has sqlite3
        need postgresql compgen -G '/usr/lib/postgresql/*/bin/initdb'
        need mariadb-server has mariadbd
        need etcd-server has etcd
        need stress-ng has stress-ng
    fi
    if [ "$purpose" = browser ]; then
        need chromium has chromium
        need fonts-dejavu-core test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf
    fi
    if [ "$purpose" = bench ]; then
        need fio has fio
        need glusterfs-server has glusterd
        need mariadb-server has mariadbd
        need sysbench has sysbench
    fi
    if [ "$purpose" = kine ]; then
        need mariadb-server has mariadbd
    fi
    if [ "$purpose" = vm ]; then
        need qemu-system-x86 has qemu-system-x86_64
        need qemu-utils has qemu-img
        need mmdebstrap has mmdebstrap
        need openssh-client has ssh-keygen
    fi
}

list_missing_linters() { # a Rust that was here before may have come without them
    local owner
    scripts/rust.sh >/dev/null || return 0
    scripts/rust.sh cargo clippy --version >/dev/null 2>&1 \
        && scripts/rust.sh cargo fmt --version >/dev/null 2>&1 && return 0
    owner=$(dpkg -S "$(scripts/rust.sh)/rustc" 2>/dev/null | cut -d: -f1) || true
    case $owner in
        rustc) missing+=(rust-clippy rustfmt) ;;
        rustc-web) missing+=(rust-web-clippy rustfmt-web) ;;
        rustc-1.*) missing+=("rust-${owner#rustc-}-clippy" "rustfmt-${owner#rustc-}") ;;
        *) refuse "Rust is here, but not its linters." "Mend: rustup component add clippy rustfmt" ;;
    esac
}

apt_packages() {
    local rust=
    if [ ${#missing[@]} -eq 0 ] && find_python >/dev/null && scripts/rust.sh >/dev/null; then return 0; fi
    if ! has apt-get >/dev/null; then
        refuse "missing: ${missing[*]:-} (names as Debian calls them), or Python 3.11, or Rust 1.85." \
            "Mend: install them with this distribution's package tool, then run this again."
    fi
    [ "$(id -u)" = 0 ] || refuse "missing packages: ${missing[*]:-Python 3.11 with venv, or Rust 1.85}." \
        "Mend: run this once as root (sudo make setup)."
    say "apt-get update"
    apt-get update -qq || say "apt-get update failed; going on with the lists that are here"
    if ! find_python >/dev/null; then
        missing+=(python3 python3-venv)
        new_enough 3.11 "$(candidate python3)" || missing+=(python3.11 python3.11-venv)
    fi
    if ! scripts/rust.sh >/dev/null; then
        rust=$(rust_packages)
        [ -n "$rust" ] || refuse "no Rust of version 1.85 or newer here, and apt has none." \
            "Mend: install one by rustup, or use Debian 12, Ubuntu 22.04 or newer with updates switched on."
    fi
    say "installing ${missing[*]:-} $rust"
    # RUNLEVEL: a database that comes here for tests shall not begin to serve.
    # shellcheck disable=SC2086  # the list of Rust packages is meant to be split
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends "${missing[@]}" $rust \
        >/tmp/twofold-apt.log 2>&1 || refuse "apt-get install failed:" "$(tail -5 /tmp/twofold-apt.log)" \
        "The whole output is in /tmp/twofold-apt.log."
    find_python >/dev/null || refuse "still no Python 3.11 or newer with venv after installing packages."
    scripts/rust.sh >/dev/null || refuse "still no Rust 1.85 or newer after installing packages."
}

# --- then do -------------------------------------------------------------------------------------------

digest() { cat "$@" | sha256sum | cut -c1-32; }
done_before() { [ "$(cat "$stamps/$1" 2>/dev/null)" = "$2" ]; } # step, digest

python_environment() {
    local made_from
    made_from=$(digest requirements.lock)
    done_before python "$made_from" && [ -x .venv/bin/python ] && return 0
    if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        say "making .venv"
        rm -rf .venv
        "$(find_python)" -m venv .venv
    fi
    say "installing Python packages"
    .venv/bin/python -m pip install -q --disable-pip-version-check -r requirements.lock
    mkdir -p "$stamps"
    echo "$made_from" >"$stamps/python"
}

rust_build() {
    local made_from
    made_from=$( (find crates -type f \( -name '*.rs' -o -name '*.toml' -o -name '*.pyi' \) | LC_ALL=C sort
        echo Cargo.toml Cargo.lock pyproject.toml) | xargs sha256sum | sha256sum | cut -c1-32)
    done_before rust "$made_from" && compgen -G 'src/twofold/_mirror*.so' >/dev/null \
        && [ -x .venv/bin/twofold ] && return 0
    say "building the engine (release; the first time takes some minutes)"
    mkdir -p target
    # What pip says about packages that are there already helps nobody; what a failed build says does.
    scripts/rust.sh env VIRTUAL_ENV="$PWD/.venv" .venv/bin/maturin develop --release --locked \
        >target/setup.log 2>&1 || refuse "the build failed:" "$(tail -40 target/setup.log)" \
        "The whole output is in target/setup.log."
    mkdir -p "$stamps"
    echo "$made_from" >"$stamps/rust"
}

check_machine
list_missing
[ "$purpose" != check ] || list_missing_linters
apt_packages
if [ "$purpose" = lab ] || [ "$purpose" = test ] || [ "$purpose" = browser ]; then # the product's own list of requirements, now that a Python is here
    "$(find_python)" src/twofold/requirements.py lab || exit 1
fi
python_environment
rust_build
if [ "$purpose" = kine ] || [ "$purpose" = vm ]; then .venv/bin/python -m twofold.lab.kine_build; fi
