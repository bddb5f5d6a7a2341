#!/bin/bash
# Finds a Rust that is new enough for our crates and runs a command with it: scripts/rust.sh cargo build
#
# Where Rust comes from differs: rustup's ~/.cargo/bin, the distribution's rustc, Debian 12's rustc-web
# (the rustc that Debian keeps new to build browsers), Ubuntu's versioned /usr/lib/rust-1.NN. With no
# command it prints the folder, or nothing and exit code 1 when there is none.

set -euo pipefail
minimum=1.85 # rust-version in Cargo.toml

new_enough() { # "rustc 1.95.0 (...)"
    local version
    version=$("$1/rustc" --version 2>/dev/null | awk '{print $2}') || return 1
    [ -n "$version" ] && [ "$(printf '%s\n' "$minimum" "$version" | sort -V | head -1)" = "$minimum" ]
}

found=
for folder in "$(dirname "$(command -v cargo || echo /none/cargo)")" "${CARGO_HOME:-$HOME/.cargo}/bin" \
    /usr/bin $(printf '%s\n' /usr/lib/rust-1.*/bin | sort -rV); do
    if [ -x "$folder/cargo" ] && [ -x "$folder/rustc" ] && new_enough "$folder"; then
        found=$folder
        break
    fi
done
[ -n "$found" ] || exit 1
if [ $# -eq 0 ]; then
    echo "$found"
    exit 0
fi
export PATH="$found:$PATH"
exec "$@"
