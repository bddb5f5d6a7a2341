"""The process that sends one notification: apart from the daemon, which has heartbeats to keep.

Standard input: one JSON object (`twofold.daemon.notifying` writes it). Exit code 0: it was taken;
1: it was not, with one sentence on standard output that has no secret in it.
"""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from typing import Any

from twofold.wire.notification import body_of

REQUEST_TIMEOUT_S = 15.0
SCRIPT_TIMEOUT_S = 30.0


def send(job: dict[str, Any]) -> str:
    """ "" when it was taken, else why not."""
    kind = job["kind"]
    if kind != "script" and not job.get("url"):
        return f"no URL is known here for it: twofold notify set {job['name']}"
    if kind == "apprise":
        return _apprise(str(job["url"]), job["message"])
    if kind == "webhook":
        return _webhook(str(job["url"]), job.get("template"), job["message"])
    return _script(str(job["script"]), job["message"])


def _apprise(url: str, told: dict[str, Any]) -> str:
    import apprise

    logging.disable(logging.CRITICAL)  # it writes URLs, and they hold passwords
    service: Any = apprise.Apprise()
    if not service.add(url):
        return "its URL is not one that Apprise knows"
    kind = apprise.NotifyType.WARNING if told["severity"] == "alarm" else apprise.NotifyType.INFO
    taken = service.notify(body=told["text"], title=told["title"], notify_type=kind)
    return "" if taken else "the service did not take it, or could not be reached"


def _webhook(url: str, template: str | None, told: dict[str, Any]) -> str:
    import httpx

    logging.disable(logging.CRITICAL)
    try:
        answer = httpx.post(
            url,
            content=body_of(template, told).encode(),
            headers={"content-type": "application/json"},
            timeout=REQUEST_TIMEOUT_S,
        )
    except (httpx.HTTPError, httpx.InvalidURL) as e:
        return f"its address could not be reached ({type(e).__name__})"
    return "" if answer.is_success else f"it answered with status {answer.status_code}"


def _script(script: str, told: dict[str, Any]) -> str:
    env = {**os.environ, **{f"TWOFOLD_{k.upper()}": str(told[k])
                            for k in ("title", "severity", "cluster")}}  # fmt: skip
    try:
        done = subprocess.run(
            [script],
            input=told["text"],
            env=env,
            text=True,
            capture_output=True,
            timeout=SCRIPT_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{script} did not end within {SCRIPT_TIMEOUT_S:g} s"
    except OSError as e:
        return f"{script} could not be run: {e.strerror}"
    return "" if done.returncode == 0 else f"{script} ended with {done.returncode}"


def main() -> int:
    failure = send(json.loads(sys.stdin.read()))
    sys.stdout.write(failure)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main())
