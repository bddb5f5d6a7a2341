"""Are both copies of a module's directories identical? Asked of the raw trees, below the mounts.

The trees are compared while the module runs (PRIM and SECOND, both Ready) and its clients are
quiet. A database still writes a little by itself, so the trees are compared again when they differ.
"""

from __future__ import annotations

import time

from .cluster import Cluster
from .compare import Comparison, compare_trees
from .lab import NODES

ATTEMPTS = 6
PAUSE_S = 1.0


def compare_copies(cluster: Cluster, module: str) -> Comparison:
    """The last of up to ATTEMPTS comparisons; the first identical one ends it."""
    comparison = _compare_once(cluster, module)
    for _ in range(ATTEMPTS - 1):
        if comparison.identical:
            break
        time.sleep(PAUSE_S)
        comparison = _compare_once(cluster, module)
    return comparison


def _compare_once(cluster: Cluster, module: str) -> Comparison:
    raw = f"/run/twofold/{module}/raw"
    roots = [cluster.lab.inside(node, raw) for node in NODES]
    found = Comparison()
    for tree in sorted(each.name for each in roots[0].iterdir()):
        one = compare_trees(roots[0] / tree, roots[1] / tree)
        found.entries += one.entries
        found.bytes_compared += one.bytes_compared
        found.differences += one.differences
    return found
