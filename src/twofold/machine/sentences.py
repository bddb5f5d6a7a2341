"""What is going on, and what to do next: two sentences for every view.

They stand in `twofold state`, the console and every alarm, so they name nodes, never internals.
"""

from __future__ import annotations

from twofold.machine.links import link_up, peer_heard, peer_idle, peer_lost, peer_serving
from twofold.machine.model import Engine, Kind, State, View, Wish, copy_current
from twofold.machine.standing import Standing, standing

NOTHING = "Nothing to do."
ARBITERS = {"none": "nobody", "ping": "a ping address", "witness": "the witness"}


def explain(view: View, module: str) -> tuple[str, str]:
    """(what is going on, what to do next)."""
    if view.job is not None:
        return _capital(f"{view.job.value}.") + _trouble(view), _patience()
    sentence, mend = _at_rest(view, module)
    engine = view.engine
    if engine is not None and engine.failed is not None:
        text = engine.failed_text or engine.failed
        mend = f"Mend that, then on this node: twofold stop {module}; twofold start {module}"
        return f"{sentence} {_sentence(_capital(text))}", mend
    return _rescued(engine, sentence, mend, module)


def _rescued(engine: Engine | None, sentence: str, mend: str, module: str) -> tuple[str, str]:
    """After a split: what a resync takes from this node is kept, and somebody should know."""
    if engine is None or (not engine.rescuing and not engine.rescues):
        return sentence, mend
    if engine.rescuing:
        return f"{sentence} What only this node had is saved before it is overwritten.", mend
    text = f"{sentence} What only this node had before a resync is kept."
    look = f"Look at it here: twofold mirror rescue list {module}"
    return text, look if mend == NOTHING else mend


def rescue_news(before: Engine | None, now: Engine, module: str) -> list[str]:
    """What is to be told when a resync begins or ends to take what only this node has."""
    was = before is not None and before.rescuing
    if now.rescuing and not was:
        return ["What only this node has is saved before the other's data overwrites it."]
    if was and not now.rescuing and now.rescues:
        look = f"twofold mirror rescue list {module}"
        return [f"What only this node had is saved; to see it, here: {look}"]
    return []


def _at_rest(view: View, module: str) -> tuple[str, str]:
    match view.state:
        case State.STOP:
            return _stopped(view, module)
        case State.WAIT:
            return _waiting(view, module)
        case State.ALONE:
            return _alone(view, module)
        case State.PRIM:
            return _prim(view)
        case State.SECOND:
            return _second(view, module)
        case State.UP:
            return "Running.", NOTHING


def _stopped(view: View, module: str) -> tuple[str, str]:
    start = f"Start it: twofold start {module}"
    light = view.settings.kind is Kind.LIGHT
    if not light and view.engine is None and view.epoch == 0 and not peer_serving(view):
        start = f"On the node with the good data: twofold prim {module}"
        start = f"{start}. Then on the other: twofold start {module}"
    if view.trouble:
        return f"Stopped. Last failure: {_sentence(view.trouble)}", start
    return "Stopped.", start


def _waiting(view: View, module: str) -> tuple[str, str]:
    peer = view.settings.peer
    if view.now_s < view.rest_until_s:
        seconds = max(1, round(view.rest_until_s - view.now_s))
        return f"Waiting {seconds} s before the next attempt.{_trouble(view)}", _patience()
    if view.wish is Wish.SECOND and not peer_serving(view):
        return f"Waiting for {peer} to serve, then this node follows it.", f"Start {peer}."
    if view.settings.kind is Kind.LIGHT:
        text = f"Waiting until {_checkers(view)} well.{_trouble(view)}"
        return text, "Mend what it asks for; `twofold state` has its answer."
    if (unruled := _unruled(view, module)) is not None:
        return unruled
    if view.claim and peer_heard(view) and view.peer and view.peer.busy:
        return f"About to serve, as soon as {peer} has stopped what runs there.", _patience()
    answer = standing(view)
    if view.unwell and answer in (Standing.MAY_SERVE, Standing.OTHERS_TURN):
        text = f"Waiting until {_checkers(view)} well.{_trouble(view)}"
        anyway = f"to serve here all the same: twofold prim {module} --yes"
        return text, f"Mend what it asks for; `twofold state` has its answer. Or, {anyway}"
    here = f"run `twofold prim {module} --yes` here if {peer} is lost for ever"
    first = f"On the node with the good data: twofold prim {module}"
    match answer:
        case Standing.MAY_SERVE:
            return f"About to serve, as soon as {peer} agrees or is silent.", _patience()
        case Standing.NO_ENGINE:
            return f"Waiting for the replication engine.{_trouble(view)}", _patience()
        case Standing.NO_DATA:
            if peer_heard(view) and view.peer and view.peer.generation:
                return "Waiting: this node has no data yet.", first
            return f"Waiting: this node has no data yet, and {peer} does not serve.", first
        case Standing.HALF_COPY:
            text = f"Waiting: a copy from {peer} did not end, so this node's data is incomplete."
            return text, f"Start {peer}: it has the whole data."
        case Standing.OUTDATED | Standing.OLDER:
            text = f"Waiting: this copy is older than {peer}'s. It will follow as soon as {peer}"
            return f"{text} serves.", f"Start {peer}, or {here}."
        case Standing.NOT_SURE:
            text = f"Waiting for {peer}, which may have newer data."
            return text, f"Start {peer}, or {here}."
        case Standing.COMPARING:
            return f"Comparing this node's data with {peer}'s.", _patience()
        case Standing.OTHERS_TURN if view.peer is not None and view.peer.unwell:
            text = f"Waiting: {peer} is to serve, as its copy may have more, but a checker there is"
            return f"{text} not well.", f"Mend what it asks for on {peer}. Or, {here}."
        case Standing.OTHERS_TURN:
            return f"Waiting: {peer} has the same data and serves next.", _patience()
        case Standing.BOTH_WENT_ON:
            text = f"Waiting: {peer} and this node both went on alone, and their data differs."
            keep = f"Choose the node to keep, and there: twofold prim {module} --yes"
            return text, f"{keep}. What only the other one has is saved before it is overwritten."
        case Standing.STRANGERS:
            text = f"Waiting: this node's data has nothing in common with {peer}'s."
            return text, f"To overwrite it with {peer}'s: twofold second {module}"


def _unruled(view: View, module: str) -> tuple[str, str] | None:
    """The nodes have lost each other, and the arbiter has ruled against this one, or not at all."""
    peer, arbiter = view.settings.peer, ARBITERS[view.settings.arbitration]
    if view.settings.arbitration == "none" or peer_heard(view):
        return None
    if view.overruled:
        text = f"{peer} is not heard, and {arbiter} gave the service to it. This node follows it"
        return f"{text} when it is heard again.", f"See that the network to {peer} works."
    if view.no_ruling or view.undecided:
        why = f" ({view.arbiter_text.rstrip('.')})" if view.arbiter_text else ""
        text = f"{peer} is not heard and {arbiter} does not answer{why}, so this node must not"
        mend = f"See that this node reaches {arbiter} or {peer}. If {peer} surely serves no more"
        leave = f"twofold stop {module}; " if view.state is State.SECOND else ""
        return f"{text} serve.", f"{mend}, here: {leave}twofold prim {module} --yes"
    return None


def _alone(view: View, module: str) -> tuple[str, str]:
    peer = view.settings.peer
    resync = _copying(view.engine)
    if view.peer and peer_heard(view) and view.peer.state is State.SECOND:
        if link_up(view):
            return f"Serving; {peer} is receiving a copy{resync}.", _patience()
        return f"Serving; {peer} is about to receive a copy.{_refused(view)}", _patience()
    if peer_heard(view):
        state = view.peer.state.value if view.peer else "unknown"
        text = f"Serving alone: {peer} is {state}. A failure of this node would stop the service."
        return text, f"On {peer}: twofold start {module}"
    text = f"Serving alone: {peer} is not heard. A failure of this node would stop the service."
    return text, f"See that {peer} runs and is connected."


def _prim(view: View) -> tuple[str, str]:
    peer, engine = view.settings.peer, view.engine
    if not link_up(view):
        text = f"Serving; the replication link to {peer} is down, so writes wait."
        return text + _refused(view), _patience()
    if engine is not None and not engine.peer_up_to_date:
        return f"Serving; {peer} is receiving a copy{_copying(engine)}.", _patience()
    return f"Serving; {peer} has everything.", NOTHING


def _second(view: View, module: str) -> tuple[str, str]:
    peer = view.settings.peer
    if copy_current(view) and not view.settings.failover:
        away = "lost" if peer_lost(view) else "stopped" if peer_idle(view, State.STOP) else ""
        if away:
            text = f"{peer} is {away}, this copy is current, and failover is off: nobody serves."
            return text, f"To serve here: twofold prim {module}"
    if peer_lost(view) and (unruled := _unruled(view, module)) is not None:
        return unruled
    if view.unwell:
        text = f"Following {peer}; this node would not take over until {_checkers(view)} well."
        return text, "Mend what it asks for; `twofold state` has its answer."
    if view.offer is not None:
        return f"The service was handed to {peer}, which is about to take it.", _patience()
    if not link_up(view):
        state = "This copy is current." if copy_current(view) else "This copy is not current."
        text = f"The replication link to {peer} is down. {state}{_refused(view)}"
        return text, f"See that the network to {peer} works."
    if copy_current(view):
        then = "takes over" if view.settings.failover else "may take over (failover is off)"
        return f"This copy is current; this node {then} when {peer} is lost.", NOTHING
    return f"Receiving a copy from {peer}{_copying(view.engine)}.", _patience()


def _checkers(view: View) -> str:
    one = len(view.unwell) == 1
    return (
        f"{'checker' if one else 'checkers'} {' and '.join(view.unwell)} {'is' if one else 'are'}"
    )


def _copying(engine: Engine | None) -> str:
    if engine is None or engine.resync_percent is None:
        return ""
    return f" ({engine.resync_percent:.0f} %)"


def _refused(view: View) -> str:
    refused = view.engine.refused if view.engine else None
    return f" {_sentence(refused)}" if refused else ""


def _trouble(view: View) -> str:
    return f" Last failure: {_sentence(view.trouble)}" if view.trouble else ""


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?")) else text + "."


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _patience() -> str:
    return "Nothing to do; this passes by itself."
