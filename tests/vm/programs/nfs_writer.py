"""A program on an NFS volume: appends numbered lines, each synced before it is reported.

    nfs_writer.py FILE FIRST [--lock]

runs until standard input ends. With --lock it holds a lock on the file all the while, so that a
lock that was lost shows as EIO. It reports JSON lines: {"n": 7} for a line that is synced,
{"error": "EIO"} for whatever went wrong (the line is tried again).

    nfs_writer.py FILE --try-lock

reports once: {"locked": "by another"} or {"locked": "free"}. Runs with the guest's Python, alone.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import sys
import threading
import time
from typing import Any

stopped = threading.Event()


def report(**fact: Any) -> None:
    sys.stdout.write(json.dumps(fact) + "\n")
    sys.stdout.flush()


def watch_input() -> None:
    while os.read(0, 4096):
        pass
    stopped.set()


def name_of(error: OSError) -> str:
    return errno.errorcode.get(error.errno or 0, str(error.errno))


def write(file: int, line: bytes, at: int) -> None:
    done = 0
    while done < len(line):
        done += os.pwrite(file, line[done:], at + done)
    os.fsync(file)


def run(path: str, first: int, with_lock: bool) -> None:
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    if with_lock:
        fcntl.lockf(file, fcntl.LOCK_EX)
        report(locked="mine")
    at = os.fstat(file).st_size
    number = first
    while not stopped.is_set():
        line = b"%d\n" % number
        try:
            write(file, line, at)
        except OSError as error:
            report(error=name_of(error), n=number)
            time.sleep(0.5)
            continue
        at += len(line)
        report(n=number)
        number += 1
        stopped.wait(0.3)
    os.close(file)


def try_lock(path: str) -> None:
    file = os.open(path, os.O_RDWR)
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            report(error=name_of(error))
        report(locked="by another")
        return
    report(locked="free")


def main() -> None:
    words = sys.argv[1:]
    if "--try-lock" in words:
        try_lock(words[0])
        return
    threading.Thread(target=watch_input, daemon=True).start()
    run(words[0], int(words[1]), "--lock" in words)


if __name__ == "__main__":
    main()
