"""What the control plane does for an engine pair while a test breaks things, in a thread.

Only this: when the primary freezes because the secondary is lost, the secondary (if it answers) is
told that its copy is outdated, and the primary goes on alone. As the daemon does, and no sooner.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from types import TracebackType

from tests.fs.engines import Engine, Pair, Refused

_LOOK_EVERY_S = 0.03


class Plane:
    def __init__(self, pair: Pair, primary: Engine, second: Engine) -> None:
        self.pair = pair
        self.primary, self.second = primary, second
        self.went_alone = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Plane:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(15)

    def _run(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            try:
                status = self.primary.status()
                if status["frozen"] and status["link"] == "down":
                    self._go_alone()
            except (OSError, Refused, ValueError):
                continue  # the engine was killed, or the command came too late

    def _go_alone(self) -> None:
        epoch = self.pair.next_epoch()
        with suppress(OSError, Refused, ValueError):  # it may be lost in every way
            self.second.command("outdate", timeout_s=1, epoch=epoch)
        self.primary.command("continue_alone", timeout_s=10, epoch=epoch)
        self.went_alone += 1
