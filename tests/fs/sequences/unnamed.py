"""As `Names`, with files that have no name yet among those that are kept open."""

from __future__ import annotations

import os
from pathlib import Path

from tests.fs.operations.unnamed import UNNAMED, give_name
from tests.fs.sequences.names import HELD_MAX, MODES, Names
from tests.fs.sequences.trace import Step


class Unnamed(Names):
    def steps(self) -> list[tuple[int, Step]]:
        return [*super().steps(), (8, self.open_unnamed), (8, self.name)]

    def open_unnamed(self) -> None:
        path, person = self.path().parent, self.person()
        flags, mode = UNNAMED | self.rng.choice([0, 0, 0, os.O_EXCL]), self.rng.choice(MODES)
        if len(self.held) >= HELD_MAX:
            os.close(self.held.pop(0))

        def do() -> object:
            self.held.append(os.open(path, flags, mode))
            told = os.fstat(self.held[-1])
            return oct(told.st_mode), told.st_nlink, told.st_uid, told.st_gid

        self.act("open unnamed", person, path, oct(flags), oct(mode), do=do)

    def name(self) -> None:
        which, path, person = self.rng.randrange(HELD_MAX), self.path(), self.person()
        if which >= len(self.held):
            return

        def do() -> object:
            return give_name(self.held[which], path), self._links(path)

        self.act("name", person, which, path, do=do)

    @staticmethod
    def _links(path: Path) -> int:
        return path.lstat().st_nlink
