"""The last steps before a service's program runs, in its own process; then it becomes the program.

Run as a program of its own (`python -I -S launch.py ...`), so that the daemon never forks while it
has threads and locks. It gives back what the daemon has for itself alone (real-time priority,
protection from the out-of-memory killer, blocked signals), joins the control group, and becomes the
wanted user. The process number stays the same, so the daemon watches the right one from the start.

Standard library only, and as little of it as possible: this is part of every start.
"""

from __future__ import annotations

import os
import signal
import sys

CANNOT_RUN = 126
_OOM_SCORE = "/proc/self/oom_score_adj"


def main(arguments: list[str]) -> None:
    """`GROUP USER DIRECTORY PROGRAM ARGUMENT...`; an empty text means none."""
    group, user, directory, *command = arguments
    _be_ordinary()
    if group:
        _write(f"{group}/cgroup.procs", "0")
    try:
        if user:
            _become(user)
        os.chdir(directory or "/")
        os.umask(0o022)
        os.execvpe(command[0], command, os.environ)
    except KeyError:
        _give_up(f"the user {user} does not exist on this node")
    except OSError as error:
        what = error.filename or command[0]
        _give_up(f"{what}: {error.strerror}")


def _be_ordinary() -> None:
    try:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 0)
    except OSError:
        pass  # a daemon without privileges has none to give back
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    # Python ignores some for itself, and whoever started the daemon may have ignored others (nohup,
    # a shell's background job); a program expects to get them all.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    _write(_OOM_SCORE, "0")


def _become(user: str) -> None:
    import pwd  # only where a user is named

    entry = pwd.getpwnam(user)
    os.initgroups(user, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ.update(HOME=entry.pw_dir, USER=user, LOGNAME=user)


def _write(path: str, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY)
    except OSError:
        return
    try:
        os.write(descriptor, text.encode())
    except OSError:
        pass
    finally:
        os.close(descriptor)


def _give_up(why: str) -> None:
    sys.stderr.write(f"twofold: cannot start: {why}\n")
    sys.stderr.flush()
    os._exit(CANNOT_RUN)


if __name__ == "__main__":
    main(sys.argv[1:])
