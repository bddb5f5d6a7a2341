"""When the view will mean something else although nobody says anything.

Each moment is a function of the view, so a timer can be neither forgotten nor left over: the driver
sleeps until `next_moment_s` and then lets the machine look again.
"""

from __future__ import annotations

from twofold.machine.arbitration import STAND_DOWN_S
from twofold.machine.model import SERVING, State, View


def next_moment_s(view: View) -> float | None:
    """The next moment after `view.now_s` at which a guard may change its answer."""
    timeout_s = view.settings.heartbeat_timeout_s
    moments = [view.peer_heard_s + timeout_s]
    if view.state in SERVING and (view.engine is None or not view.engine.link_up):
        moments.append(max(view.link_quiet_since_s, view.since_s) + timeout_s)
    if view.state is State.SECOND and view.offer is not None:
        moments.append(view.since_s + view.settings.offer_timeout_s)
    if view.state is State.SECOND:
        moments.append(view.since_s + timeout_s)
    if view.going_alone:
        moments.append(view.going_alone_s + timeout_s)
    if view.rest_until_s:
        moments.append(view.rest_until_s)
    if view.ask_again_s:
        moments.append(view.ask_again_s)
    if view.won:
        moments.append(view.won_at_s + STAND_DOWN_S)
    later = [m for m in moments if m > view.now_s]
    return min(later, default=None)
