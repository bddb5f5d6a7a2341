#!/bin/bash
# Makes the installable package: dist/twofold_VERSION-REVISION_ARCH.deb (and the wheel that is in it).
#
#   packaging/build.sh [--print]       --print: only say where the package of this tree is or would be
#
# The package brings its own Python environment in /opt/twofold: the wheels of requirements.lock, of which only
# those that `twofold` itself needs, so that nothing is fetched where it is installed and nothing of the system's
# Python packages is touched. It runs on the interpreter of the distribution it was built on (Depends says which).
# What was built from the same inputs is not built again. REVISION=2 makes a newer one of the same version.

set -euo pipefail
cd "$(dirname "$0")/.."
revision=${REVISION:-1}
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml | head -1)
architecture=$(dpkg --print-architecture)
package=dist/twofold_$version-${revision}_$architecture.deb

if [ "${1:-}" = --print ]; then
    echo "$package"
    exit 0
fi
say() { echo "package: $*" >&2; }

scripts/setup.sh build >&2
inputs=$( (find crates src packaging -type f -not -path '*/__pycache__/*' -not -name '*.so' | LC_ALL=C sort
    echo Cargo.toml Cargo.lock pyproject.toml requirements.lock README.md LICENSE CHANGELOG.md) | xargs sha256sum \
    | sha256sum | cut -c1-32)
if [ -f "$package" ] && [ "$(cat "$package.inputs" 2>/dev/null)" = "$inputs" ]; then
    echo "$package"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

# --- the wheel ---------------------------------------------------------------------------------------------------

say "building the wheel"
rm -f dist/twofold-"$version"-*.whl
scripts/rust.sh env PYO3_PYTHON="$PWD/.venv/bin/python" .venv/bin/maturin build --release --locked --quiet \
    --interpreter "$PWD/.venv/bin/python" --out dist >&2
wheel=$(ls dist/twofold-"$version"-*.whl)

# --- /opt/twofold -------------------------------------------------------------------------------------------------

say "installing it with what it needs"
python=
for name in python3 python3.11 python3.12 python3.13 python3.14; do # the distribution's own, not one of a user
    if "/usr/bin/$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        python=$(realpath "/usr/bin/$name")
        break
    fi
done
if [ -z "$python" ]; then
    say "no Python 3.11 or newer in /usr/bin, which the package could depend on."
    say "Mend: apt-get install python3 (Debian 12 or newer) or python3.11 (Ubuntu 22.04)."
    exit 1
fi
"$python" -m venv --without-pip "$root/opt/twofold"
.venv/bin/python -m pip --python "$root/opt/twofold/bin/python" install -q --disable-pip-version-check \
    --no-compile --only-binary :all: --constraint requirements.lock "$wheel" >&2
packaging/relocate.py "$root/opt/twofold" /opt/twofold
"$root/opt/twofold/bin/python" -m compileall -q -j 2 --invalidation-mode unchecked-hash \
    -s "$root" -p / "$root/opt/twofold/lib"

# --- units, completion, page -----------------------------------------------------------------------------------------

install -d "$root/usr/bin" "$root/usr/share/doc/twofold" "$root/usr/share/man/man8"
ln -s /opt/twofold/bin/twofold "$root/usr/bin/twofold"
for unit in packaging/systemd/*.service; do
    install -Dm 644 "$unit" "$root/lib/systemd/system/$(basename "$unit")"
done
install -Dm 644 packaging/sysusers.conf "$root/usr/lib/sysusers.d/twofold.conf"
install -Dm 644 packaging/completion.bash "$root/usr/share/bash-completion/completions/twofold"
install -Dm 644 LICENSE "$root/usr/share/doc/twofold/copyright"
gzip -9n <CHANGELOG.md >"$root/usr/share/doc/twofold/changelog.gz"
sed "s/@VERSION@/$version/" packaging/twofold.8 | gzip -9n >"$root/usr/share/man/man8/twofold.8.gz"
ln -s twofold.8.gz "$root/usr/share/man/man8/twofoldd.8.gz"

# --- the package --------------------------------------------------------------------------------------------------------

say "packing"
install -d "$root/DEBIAN"
for script in postinst prerm postrm; do
    install -m 755 "packaging/debian/$script" "$root/DEBIAN/$script"
done
libc=$("$python" -c 'import platform; print(platform.libc_ver()[1])')
cat >"$root/DEBIAN/control" <<END
Package: twofold
Version: $version-$revision
Architecture: $architecture
Maintainer: The Twofold developers <twofold@localhost>
Section: admin
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$root" | cut -f1)
Depends: libc6 (>= $libc), $(basename "$python"), python3, fuse3, iproute2, systemd
Description: High availability on two ordinary servers
 Replicates directories between two servers, each write before it returns, and
 moves an application with its virtual address to the other server when one
 dies, by hand or for maintenance. No shared disk, no third server.
END
(cd "$root" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | LC_ALL=C sort -z \
    | xargs -0 md5sum >DEBIAN/md5sums)
find "$root" -newermt @"${SOURCE_DATE_EPOCH:-$(date +%s)}" -exec touch -h -d @"${SOURCE_DATE_EPOCH:-$(date +%s)}" {} +
mkdir -p dist
dpkg-deb --root-owner-group -Zzstd -z6 --build "$root" "$package" >&2
echo "$inputs" >"$package.inputs"
echo "$package"
