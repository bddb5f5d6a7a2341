"""The two machines of a run: booted, installed and formed once, handed from test to test,
always ended.
"""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator

import pytest

from twofold.lab.requirements import find_kine

from . import kept
from . import site as demonstration
from .pair import Pair
from .results import Results

_made: list[Pair] = []
_results = Results()


@pytest.fixture(scope="session")
def bare() -> Iterator[Pair]:
    """Two machines with the package on them, in no cluster."""
    if os.geteuid() != 0:
        pytest.fail("tests/vm needs root: namespaces, taps, and mmdebstrap")
    kine = find_kine()
    made = Pair([kine] if kine else [])
    _made.append(made)
    try:
        if not (os.environ.get("TWOFOLD_VM_AGAIN") and kept.load(made)):
            made.boot()
            made.install()
        yield made
    finally:
        _made.clear()
        made.close()


@pytest.fixture(scope="session")
def pair(bare: Pair) -> Pair:
    """A cluster of two; the K3s tests, which come first, have formed it by their installer."""
    if not bare.is_formed():
        bare.form()
    return bare


@pytest.fixture(scope="session")
def site(pair: Pair) -> Pair:
    """The pair with the demonstration module on it."""
    demonstration.install(pair)
    return pair


@pytest.fixture(scope="session")
def results() -> Results:
    return _results


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.failed and _made:
        place = _made[0].keep_logs(item.name)
        report.sections.append(("guests", f"What the guests said is in {place}"))
    return report


def pytest_sessionfinish() -> None:
    _results.write()
