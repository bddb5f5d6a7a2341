"""Everything that can go wrong, as one tree. The branch says whose fault it is.

    TwofoldError
    |-- OperatorError      the person: wrong configuration, command not possible now
    |   |-- ConfigError        a file or value is wrong; names file, line, key and the mend
    |   |-- CommandRefused     not in this state; says why and what to do instead
    |   |   |-- NotThere           no module, version or node of that name
    |   |   `-- NeedsForce         not without a person's word, who knows what is lost
    |   |-- ChangedMeanwhile   what a change was made from is not what is there now
    |   `-- AddressInUse       another host answers for a virtual address
    |-- PeerError            the other node
    |   |-- NodeUnreachable
    |   `-- PeerRefused
    |-- MachineError         this machine: disk, network, missing kernel feature
    |   |-- MissingRequirement
    |   |-- ProbeNotMade       a checker could not ask; says nothing about what it asks
    |   |-- MirrorFailed
    |   `-- MirrorRefused
    |-- ApplicationError     the module's own services and scripts
    |   |-- StartFailed
    |   `-- StopFailed
    `-- BrokenInvariant      our bug: stop safely and say so

An error's text is a sentence for a person: what was wrong, where, what would be right.
"""

from __future__ import annotations


class TwofoldError(Exception):
    """Root of the tree. `code` is stable and meant for scripts, the text for people.

    `mend`, where there is one, says what to do; the CLI shows it on a line of its own.
    """

    code = "error"

    def __init__(self, sentence: str = "", mend: str = "") -> None:
        super().__init__(f"{sentence.rstrip('.')}. {mend}" if mend else sentence)
        self.sentence = sentence
        self.mend = mend


class OperatorError(TwofoldError):
    code = "operator"


class ConfigError(OperatorError):
    code = "config"


class CommandRefused(OperatorError):
    code = "refused"


class NotThere(CommandRefused):
    code = "not_there"


class NeedsForce(CommandRefused):
    code = "needs_force"


class ChangedMeanwhile(OperatorError):
    code = "changed_meanwhile"


class AddressInUse(OperatorError):
    code = "address_in_use"


class PeerError(TwofoldError):
    code = "peer"


class NodeUnreachable(PeerError):
    code = "unreachable"


class PeerRefused(PeerError):
    code = "peer_refused"


class MachineError(TwofoldError):
    code = "machine"


class MissingRequirement(MachineError):
    code = "missing_requirement"


class ProbeNotMade(MachineError):
    code = "probe_not_made"


class MirrorFailed(MachineError):
    code = "mirror_failed"


class MirrorRefused(MachineError):
    """The engine refused a command; `reason` is its code (`stale_epoch`, `not_up_to_date`, ...)."""

    code = "mirror_refused"

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class ApplicationError(TwofoldError):
    code = "application"


class StartFailed(ApplicationError):
    code = "start_failed"


class StopFailed(ApplicationError):
    code = "stop_failed"


class BrokenInvariant(TwofoldError):
    code = "bug"
