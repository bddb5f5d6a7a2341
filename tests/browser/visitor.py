"""A person at a browser in the lab: run inside the lab's client, one story for each role.

    python -m tests.browser.visitor STORY URL USER PASSWORD FOLDER

Prints one JSON object; whatever is not as it should be ends it with a sentence. The lab itself (a
power cut) is moved by the test outside: `await_line` says what it waits for on standard output, and
goes on when a line comes in.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

from playwright.sync_api import Page, expect, sync_playwright

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
]
PAGES = {
    "overview": "/",
    "module": "/module/demo",
    "log": "/log",
    "configuration": "/configuration",
    "cluster": "/cluster",
}
LOOKS = {"light": (1280, 800, "light"), "dark": (1280, 800, "dark"), "phone": (390, 844, "light")}
SLOW_MS = 45_000


def await_line(what: str) -> None:
    print(json.dumps({"waits": what}), flush=True)
    sys.stdin.readline()


def log_in(page: Page, url: str, user: str, password: str) -> None:
    page.goto(url)
    page.fill("input[name=name]", user)
    page.fill("input[name=password]", password)
    page.click("button[type=submit]")
    expect(page.locator(".tf-top")).to_be_visible(timeout=SLOW_MS)


def expect_state(page: Page, node: str, state: str) -> None:
    box = page.locator(f'.tf-box[data-node="{node}"][data-state="{state}"]')
    expect(box).to_be_visible(timeout=SLOW_MS)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).first.click()


def press_in_row(page: Page, node: str, name: str) -> None:
    row = page.locator(".tf-actions .tf-row").filter(has=page.locator("b", has_text=node)).first
    row.get_by_role("button", name=name, exact=True).first.click()


def admin(page: Page, url: str, folder: Path) -> None:
    """Swap, stop, start, a power cut, a configuration refused, applied and taken back."""
    page.goto(f"{url}/module/demo")
    expect_state(page, "a", "PRIM")
    press(page, "Swap sides")
    expect(page.locator(".tf-dialog")).to_contain_text("nothing is lost")
    press(page, "Do it")
    expect_state(page, "b", "PRIM")
    expect_state(page, "a", "SECOND")
    press_in_row(page, "a", "Stop")
    press(page, "Do it")
    expect_state(page, "a", "STOP")
    expect(page.locator(".tf-badge").first).to_have_text("Not protected", timeout=SLOW_MS)
    press_in_row(page, "a", "Start")
    expect_state(page, "a", "SECOND")
    expect(page.locator(".tf-badge").first).to_have_text("Protected", timeout=SLOW_MS)
    _power_cut(page, folder)
    _configuration(page, url)
    page.goto(f"{url}/log?module=demo&text=swap")
    expect(page.locator(".tf-line").first).to_be_visible(timeout=SLOW_MS)
    page.goto(f"{url}/cluster")
    expect(page.locator("body")).to_contain_text("swap demo", timeout=SLOW_MS)


def _power_cut(page: Page, folder: Path) -> None:
    await_line("power cut of b")
    expect_state(page, "a", "ALONE")
    expect_state(page, "b", "OFF")
    expect(page.locator(".tf-alert")).to_contain_text("b does not answer", timeout=SLOW_MS)
    page.screenshot(path=folder / "power-cut.png", full_page=True)
    await_line("power for b")
    expect_state(page, "b", "SECOND")
    expect_state(page, "a", "PRIM")


def _configuration(page: Page, url: str) -> None:
    page.goto(f"{url}/configuration?target=demo")
    editor = page.locator(".tf-editor textarea")
    expect(editor).to_have_value(containing("[module]"), timeout=SLOW_MS)
    good = editor.input_value()
    editor.fill(good.replace("[module]", "[modul]", 1))
    press(page, "Apply on all nodes")
    expect(page.locator(".tf-problem.tone-bad").first).to_contain_text("modul", timeout=SLOW_MS)
    editor.fill(good.replace("for demonstration", "for the browser", 1))
    press(page, "Show the difference")
    expect(page.locator(".tf-diff ins")).to_contain_text("for the browser", timeout=SLOW_MS)
    press(page, "Apply on all nodes")
    press(page, "Apply")
    expect(page.locator(".tf-version")).to_have_count(2, timeout=SLOW_MS)
    press(page, "Roll back")
    page.locator(".tf-dialog").get_by_role("button", name="Roll back").click()
    expect(page.locator(".tf-version")).to_have_count(3, timeout=SLOW_MS)
    expect(editor).to_have_value(containing("for demonstration"), timeout=SLOW_MS)


def containing(text: str) -> re.Pattern[str]:
    return re.compile(re.escape(text))


def control(page: Page, url: str, folder: Path) -> None:
    """May act, and sees neither configuration nor users."""
    page.goto(f"{url}/module/demo")
    expect(page.get_by_role("button", name="Swap sides")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("button", name="Force primary")).to_have_count(0)
    expect(page.get_by_role("link", name="Configuration")).to_have_count(0)
    page.goto(f"{url}/cluster")
    expect(page.locator("body")).not_to_contain_text("Add a user")


def monitor(page: Page, url: str, folder: Path) -> None:
    """Sees everything that is going on, and has nothing to press."""
    page.goto(f"{url}/module/demo")
    expect_state(page, "a", "PRIM")
    expect(page.locator(".tf-actions")).to_have_count(0)
    expect(page.locator(".tf-button")).to_have_count(0)
    page.goto(f"{url}/configuration")
    expect(page.locator("body")).to_contain_text("for administrators", timeout=SLOW_MS)
    expect(page.locator(".tf-editor")).to_have_count(0)


def pictures(page: Page, url: str, folder: Path) -> None:
    """Every page in every look, with nothing wider than its window."""
    for look, (width, height, scheme) in LOOKS.items():
        page.set_viewport_size({"width": width, "height": height})
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for name, path in PAGES.items():
            page.goto(f"{url}{path}")
            expect(page.locator(".tf-top")).to_be_visible(timeout=SLOW_MS)
            page.wait_for_timeout(2500)
            page.screenshot(path=folder / f"{name}-{look}.png", full_page=True)
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 1, f"{name} in {look} is {wide} pixels too wide"


STORIES = {"admin": admin, "control": control, "monitor": monitor, "pictures": pictures}


def main(story: str, url: str, user: str, password: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    errors: list[str] = []
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        page.set_default_timeout(SLOW_MS)
        page.on("pageerror", lambda e: errors.append(str(e)))
        try:
            log_in(page, url, user, password)
            STORIES[story](page, url, folder)
        except BaseException:
            page.screenshot(path=folder / f"failed-{story}.png", full_page=True)
            raise
        finally:
            browser.close()
    print(json.dumps({"done": story, "errors": errors}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4], Path(sys.argv[5]))
