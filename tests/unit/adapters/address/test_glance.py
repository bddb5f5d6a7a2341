"""Many modules look at the addresses at the same time: one reading serves them all."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from twofold.adapters.address.links import GLANCE_S, Glance, Link


def test_one_reading_serves_all_who_look_until_it_is_old_or_something_was_changed() -> None:
    now_s, readings = [100.0], list[Link]()

    def read() -> tuple[Link, ...]:
        readings.append(Link(len(readings), "eth0", None, ()))
        return (readings[-1],)

    glance = Glance(read, lambda: now_s[0])
    first = glance.links()
    now_s[0] += GLANCE_S / 2
    assert glance.links() == first and len(readings) == 1
    glance.forget()
    second = glance.links()
    assert second != first, "a change of this process is seen at once"
    now_s[0] += GLANCE_S
    assert glance.links() != second
    assert len(readings) == 3


def test_many_who_must_see_what_is_there_now_share_readings_that_began_after_they_asked() -> None:
    began: list[float] = []
    first_reads, go_on = threading.Event(), threading.Event()

    def read() -> tuple[Link, ...]:
        began.append(time.monotonic())
        first_reads.set()
        assert go_on.wait(10.0)
        return (Link(len(began), "eth0", None, ()),)

    glance = Glance(read)
    with ThreadPoolExecutor(40) as threads:
        one = threads.submit(glance.links_since, glance.now_s())
        assert first_reads.wait(10.0)
        asked_s = glance.now_s()
        others = [threads.submit(glance.links_since, glance.now_s()) for _ in range(30)]
        go_on.set()
        assert one.result(10.0)[0].index == 1
        assert {other.result(10.0)[0].index for other in others} == {2}
    assert len(began) == 2 and began[1] >= asked_s
