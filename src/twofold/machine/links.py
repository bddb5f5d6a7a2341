"""What is known about the way to the peer: heartbeats and the replication link.

"Lost" needs both: all heartbeats silent for the timeout *and* the link down, or as silent. One of
them alone is an alarm at most. Time is `view.now_s`.
"""

from __future__ import annotations

from twofold.machine.model import SERVING, State, View

_ROUNDING_S = 0.001  # a timer set to a moment must find that moment reached


def peer_silent(view: View) -> bool:
    """No heartbeat on any network for the timeout. Until then a peer never heard is not silent."""
    return view.now_s - view.peer_heard_s >= view.settings.heartbeat_timeout_s - _ROUNDING_S


def peer_heard(view: View) -> bool:
    """The peer speaks, and we know its report."""
    return view.peer is not None and not peer_silent(view)


def link_up(view: View) -> bool:
    return view.engine is not None and view.engine.link_up


def link_dead(view: View) -> bool:
    """The replication link is down, or silent for the timeout."""
    engine = view.engine
    if engine is None or not engine.link_up:
        return True
    silent_s = engine.link_silent_s
    return silent_s is not None and silent_s >= view.settings.heartbeat_timeout_s


def link_given_up(view: View) -> bool:
    """Down for so long that a primary should not wait for it any more."""
    quiet_since_s = max(view.link_quiet_since_s, view.since_s)
    waited_s = view.now_s - quiet_since_s
    return not link_up(view) and waited_s >= view.settings.heartbeat_timeout_s - _ROUNDING_S


def peer_lost(view: View) -> bool:
    return peer_silent(view) and link_dead(view)


def peer_serving(view: View) -> bool:
    return peer_heard(view) and view.peer is not None and view.peer.state in SERVING


def peer_idle(view: View, *states: State) -> bool:
    """The peer says it is in one of these states and is not on its way to another."""
    peer = view.peer
    return peer_heard(view) and peer is not None and peer.state in states and not peer.busy


def peer_marked_for_this(view: View) -> bool:
    """The peer has marked its copy for the epoch in which this node is about to go on alone."""
    peer = view.peer
    announced = view.going_alone > 0 and peer_heard(view)
    return announced and peer is not None and peer.knows_alone >= view.going_alone


def alone_agreed(view: View) -> bool:
    """The peer cannot, or will not, take over with a copy that is about to be out of date."""
    peer = view.peer
    if peer is None or not peer_heard(view) or peer.leaving or peer.state is not State.SECOND:
        return True
    if not view.going_alone:
        return False
    waited_s = view.now_s - view.going_alone_s
    return peer_marked_for_this(view) or waited_s >= view.settings.heartbeat_timeout_s - _ROUNDING_S


def agrees(view: View) -> bool:
    """The peer is heard, and has said what makes it safe to go on without asking anybody."""
    peer = view.peer
    if peer is None or not peer_heard(view):
        return False
    return peer.leaving or peer.state is not State.SECOND or peer_marked_for_this(view)


def second_gone(view: View) -> bool:
    """A primary has no secondary any more, and must go on alone or stay frozen."""
    if link_up(view):
        return False
    left = peer_heard(view) and view.peer is not None and view.peer.leaving
    return left or peer_lost(view) or link_given_up(view)


def other_wins(view: View) -> bool:
    """Both serve. The higher epoch stays; then the one that stayed; then the first by name."""
    peer = view.peer
    if peer is None or not peer_serving(view) or view.state not in SERVING:
        return False
    mine = (view.epoch, not view.took_over)
    theirs = (peer.epoch, not peer.took_over)
    if mine != theirs:
        return theirs > mine
    return view.settings.peer < view.settings.node
