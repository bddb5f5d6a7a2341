"""For all tiers: a test written as `async def` runs in an event loop of its own.

A run that is asked to end (SIGTERM, as `timeout` sends it) ends as by Ctrl-C, so that each test
takes away what it made.
"""

from __future__ import annotations

import asyncio
import inspect
import signal
from typing import Any

import pytest


def pytest_configure() -> None:
    signal.signal(signal.SIGTERM, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    function: Any = pyfuncitem.obj
    if not inspect.iscoroutinefunction(function):
        return None
    fixtures = {name: pyfuncitem.funcargs[name] for name in inspect.signature(function).parameters}
    asyncio.run(function(**fixtures))
    return True
