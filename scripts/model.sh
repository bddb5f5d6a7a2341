#!/bin/bash
# Checks the model of the arbitration protocol exhaustively (docs/internals/models), in a minute; and
# that the check can fail: broken in one place (without its fence; asking for a higher term than the one
# that the other may use; using a term that the other counts as spent) the same model must be refused.
set -euo pipefail
model=$(cd "$(dirname "$0")/.." && pwd)/docs/internals/models/arbitration.pml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

errors() { # words for spin -> the number of errors that an exhaustive search finds
    local found
    spin "$@" -a "$model" >/dev/null && cc -O1 -DSAFETY -DCOLLAPSE -o pan pan.c &&
        found=$(./pan -m20000 | sed -n 's/.*errors: \([0-9][0-9]*\).*/\1/p') && [ -n "$found" ] && echo "$found" && return
    echo "The model could not be searched ($*): see above, or whether memory was short (it takes 1.3 GiB)." >&2
    return 1
}

found=$(errors)
if [ "$found" != 0 ]; then
    echo "The model of the arbitration breaks a promise: spin -run $model" >&2
    exit 1
fi
for broken in NO_FENCE HIGHER REUSE; do
    found=$(errors -D$broken)
    if [ "$found" = 0 ]; then
        echo "The model is not refused with -D$broken, so its check proves nothing." >&2
        exit 1
    fi
done
echo "The arbitration's model holds in every state, and is refused when it is broken."
