"""Several engine pairs beside each other, each taking the next case of a table.

A case takes a healthy pair in which `primary` serves and `second` has everything, and leaves such a
pair; the roles may have changed. After a case that failed the lane goes on with a fresh pair.
"""

from __future__ import annotations

import queue
import threading
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tests.fs.compared import same
from tests.fs.engines import Engine, Pair
from tests.fs.workout import Workout

LANES = 5


class Lane:
    def __init__(self, home: Path, **options: Any) -> None:
        home.mkdir()
        self.pair = Pair(home, faults=[], **options)
        try:
            self.pair.start()
        except BaseException:
            self.pair.close()
            raise
        self.primary, self.second = self.pair.a, self.pair.b
        self.workout = Workout(self.primary.tree)

    def swap(self) -> None:
        self.primary, self.second = self.second, self.primary
        self.workout.root = self.primary.tree

    def arm(self, engine: Engine, effect: str, what: Any, **where: int) -> None:
        engine.command("faults", plan=[{"effect": effect, "what": what, **where}])

    def struck(self, engine: Engine) -> int:
        return sum(engine.command("faults")["faults"]["struck"])

    def heal(self, engine: Engine) -> None:
        engine.command("faults", plan=[])

    def restart_as_second(self, engine: Engine) -> None:
        engine.kill()
        engine.start()
        engine.command("become_secondary", epoch=self.pair.epoch)

    def whole_again(self) -> None:
        """Both copies come to be identical, and have every acknowledged write."""
        self.pair.in_sync(self.primary, 30)
        same(self.pair)
        assert not (missing := self.workout.missing(self.primary.raw)), missing
        assert not (missing := self.workout.missing(self.second.raw)), missing


def each(
    home: Path, cases: Iterable[str], test: Callable[[Lane, str], None], **options: Any
) -> None:
    """Runs the test with each case; fails with all that failed."""
    waiting: queue.SimpleQueue[str] = queue.SimpleQueue()
    for case in cases:
        waiting.put(case)
    failed: dict[str, str] = {}

    def work(number: int) -> None:
        lane: Lane | None = None
        made = 0
        try:
            while True:
                try:
                    case = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    if lane is None:
                        made += 1
                        lane = Lane(home / f"lane {number} {made}", **options)
                    test(lane, case)
                except Exception:
                    failed[case] = traceback.format_exc(limit=-4)
                    if lane is not None:
                        logs = [engine.log()[-1500:] for engine in (lane.primary, lane.second)]
                        failed[case] += "\nprimary:\n{}\nsecond:\n{}".format(*logs)
                        lane.pair.close()
                        lane = None
        finally:
            if lane is not None:
                lane.pair.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(LANES)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed, "\n\n".join(f"== {case}: {text}" for case, text in failed.items())
