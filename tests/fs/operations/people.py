"""Doing something in another process, as another user if wanted, and hearing what came of it."""

from __future__ import annotations

import json
import os
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tests.fs.operations.table import attempt


@dataclass(frozen=True)
class Person:
    uid: int
    gid: int
    groups: tuple[int, ...] = ()


# Numbers that no account of the machine has.
ANNE = Person(12001, 13001)
BORIS = Person(12002, 13002, (13050,))


class Child:
    """A process that runs `work` and hands its answer back as JSON."""

    def __init__(self, work: Callable[[], object], person: Person | None = None) -> None:
        self._answers, writer = os.pipe()
        self._pid = os.fork()
        if self._pid != 0:
            os.close(writer)
            return
        code = 1
        try:
            if person is not None:
                os.setgroups(person.groups)
                os.setgid(person.gid)
                os.setuid(person.uid)
            os.write(writer, json.dumps(attempt(work)).encode())
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)

    def answer(self) -> object:
        with os.fdopen(self._answers, "rb") as answers:
            told = answers.read()
        _, status = os.waitpid(self._pid, 0)
        assert os.waitstatus_to_exitcode(status) == 0, "the child process failed"
        answer: object = json.loads(told)
        return answer


def as_person(person: Person, work: Callable[[], object]) -> object:
    return Child(work, person).answer()


def each_as(person: Person, works: Iterable[Callable[[], object]]) -> list[object]:
    return [as_person(person, work) for work in works]
