"""Many modules look at the addresses at the same time: one reading serves them all."""

from __future__ import annotations

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
