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
import tarfile
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
    "new-module": "/configuration/new",
    "new-module-form": "/configuration/new?from=files",
    "cluster": "/cluster",
    "users": "/users",
}
LOOKS = {"light": (1280, 800, "light"), "dark": (1280, 800, "dark"), "phone": (390, 844, "light")}
SLOW_MS = 45_000
# What still moves is a blinking cursor, which never ends.
SETTLED = "document.getAnimations().every(a => a.effect.getTiming().iterations === Infinity)"
PASSWORD_OF_NOBODY = "these are five odd words"


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
    """Swap, stop, start, a power cut and the take-over, the log, who did what."""
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
    page.goto(f"{url}/log?module=demo&text=swap")
    expect(page.locator(".tf-line").first).to_be_visible(timeout=SLOW_MS)
    page.goto(f"{url}/users")
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


def _type(page: Page, old: str, new: str) -> None:
    """Into the editor, as keys: `old` is found in the text and typed over."""
    text = page.evaluate(_TEXT)
    assert old in text, text
    page.locator(".cm-content").click()
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text.replace(old, new, 1))


# Only what is in sight is drawn, so the text is asked of the editor itself.
_TEXT = (
    "((c) => { const at = c && (c.cmTile || c.cmView);"
    " return at && at.view ? at.view.state.doc.toString() : ''; })"
    "(document.querySelector('.cm-content'))"
)


def _expect_text(page: Page, part: str) -> None:
    page.wait_for_function(f"({_TEXT}).includes({json.dumps(part)})", timeout=SLOW_MS)


def configuration(page: Page, url: str, folder: Path) -> None:
    """A bad edit is refused at its line, a good one applied, overtaken, compared, taken back."""
    page.goto(f"{url}/configuration?target=demo")
    _expect_text(page, "[module]")
    _type(page, "[module]", "[modul]")
    press(page, "Apply on all nodes")
    expect(page.locator(".tf-problem.tone-bad").first).to_contain_text("modul", timeout=SLOW_MS)
    expect(page.locator(".cm-line.tf-wrong")).to_contain_text("[modul]", timeout=SLOW_MS)
    page.screenshot(path=folder / "refused.png", full_page=True)
    _type(page, "[modul]", "[module]")
    _type(page, "for demonstration", "for the browser")
    press(page, "Apply on all nodes")
    expect(page.locator(".tf-dialog ins")).to_contain_text("for the browser", timeout=SLOW_MS)
    page.get_by_label("Why").fill("seen in a browser")
    page.wait_for_function(SETTLED, timeout=SLOW_MS)
    page.screenshot(path=folder / "proposed.png")
    press(page, "Apply")
    expect(page.locator(".tf-version")).to_have_count(2, timeout=SLOW_MS)
    expect(page.locator(".tf-version").first).to_contain_text("seen in a browser")
    _overtaken(page, folder)
    page.locator(".tf-version").last.get_by_role("button", name="Compare").click()
    expect(page.locator(".tf-dialog .tf-diff")).to_contain_text("for demonstration")
    press(page, "Close")
    page.locator(".tf-version").last.get_by_role("button", name="Roll back").click()
    page.locator(".tf-dialog").get_by_role("button", name="Roll back").click()
    expect(page.locator(".tf-version")).to_have_count(4, timeout=SLOW_MS)
    _expect_text(page, "for demonstration")


def _overtaken(page: Page, folder: Path) -> None:
    """Somebody applies another text meanwhile: refused in words, and the own text is kept."""
    await_line("another edit of demo")
    _type(page, "for the browser", "for a slow typist")
    press(page, "Apply on all nodes")
    press(page, "Apply")
    expect(page.locator(".tf-said")).to_contain_text("changed meanwhile", timeout=SLOW_MS)
    page.screenshot(path=folder / "overtaken.png", full_page=True)
    _expect_text(page, "for a slow typist")
    press(page, "Take the newest, drop mine")
    _expect_text(page, "for the other one")
    expect(page.locator(".tf-version")).to_have_count(3, timeout=SLOW_MS)


def library(page: Page, url: str, folder: Path) -> None:
    """A module from the library: what is missing is said, then it is added and started."""
    page.goto(f"{url}/configuration")
    page.get_by_role("link", name="New module").click()
    page.get_by_role("link", name="files").click()
    page.get_by_label("Name", exact=True).fill("share")
    press(page, "Add it")
    expect(page.locator(".tf-problem.tone-bad").first).to_be_visible(timeout=SLOW_MS)
    page.screenshot(path=folder / "new-module-refused.png", full_page=True)
    page.get_by_label("address", exact=True).fill("10.77.0.101/24")
    page.get_by_label("directory", exact=True).fill("/srv/share")
    press(page, "Check on all nodes")
    expect(page.locator(".tf-problem.tone-bad").first).to_contain_text("/srv/share")
    await_line("the directory of share")
    press(page, "Check on all nodes")
    expect(page.locator(".tf-problem.tone-good")).to_be_visible(timeout=SLOW_MS)
    press(page, "Preview")
    expect(page.locator(".tf-dialog .tf-diff")).to_contain_text("10.77.0.101/24")
    press(page, "Close")
    press(page, "Add it")
    expect(page.locator(".tf-card")).to_have_attribute("data-module", "share", timeout=SLOW_MS)
    expect_state(page, "a", "STOP")


def people(page: Page, url: str, folder: Path) -> None:
    """A user, their role, a token that is shown once and revoked."""
    page.goto(f"{url}/users")
    press(page, "Add a user")
    page.locator(".tf-dialog").get_by_label("Name").fill("carol")
    press(page, "Add")
    expect(page.locator(".tf-secret")).to_have_text(re.compile(r"^(\w{4}-){4}\w{4}$"))
    press(page, "I have noted it")
    row = page.locator(".tf-user").filter(has_text="carol")
    expect(row).to_contain_text("monitor", timeout=SLOW_MS)
    row.get_by_role("button", name="Make control").click()
    expect(row).to_contain_text("control", timeout=SLOW_MS)
    press(page, "New token")
    page.get_by_label("What it is for").fill("prometheus")
    press(page, "Make it")
    expect(page.locator(".tf-secret")).to_have_text(re.compile("^tf_"))
    token = page.locator(".tf-secret").inner_text()
    press(page, "I have noted it")
    assert _status(page, f"{url}/api/v1/modules", token) == 200
    page.locator(".tf-token").first.get_by_role("button", name="Revoke").click()
    page.locator(".tf-dialog").get_by_role("button", name="Revoke").click()
    expect(page.locator(".tf-token")).to_have_count(0, timeout=SLOW_MS)
    assert _status(page, f"{url}/api/v1/modules", token) == 401
    expect(page.locator("body")).to_contain_text("token remove", timeout=SLOW_MS)


def _status(page: Page, address: str, token: str) -> int:
    """Of a program with the token: without the browser's cookie."""
    playwright = page.context.browser
    assert playwright is not None
    other = playwright.new_context(ignore_https_errors=True)
    answer = other.request.get(address, headers={"authorization": f"Bearer {token}"})
    other.close()
    return answer.status


def snapshot(page: Page, url: str, folder: Path) -> None:
    """What somebody who helps needs, as a download; who fetched it stands in the audit."""
    page.goto(f"{url}/cluster")
    expect(page.locator("body")).to_contain_text("Passwords, keys and tokens are removed")
    with page.expect_download(timeout=SLOW_MS) as coming:
        press(page, "Download a snapshot")
    assert coming.value.suggested_filename.startswith("twofold-snapshot-")
    with tarfile.open(coming.value.path()) as archive:
        names = set(archive.getnames())
        wholes = [(archive.extractfile(m) or sys.stdin.buffer).read() for m in archive]
    for node in ("a", "b"):
        for file in (
            "twofold/state.json",
            "config/cluster.toml",
            "config/modules/demo/module.toml",
        ):
            assert f"twofold-snapshot/{node}/{file}" in names, names
    assert {f"twofold-snapshot/{n}.txt" for n in ("README", "REMOVED", "MISSING")} <= names
    assert not any(b"PRIVATE KEY" in w or b"$argon2" in w for w in wholes)
    page.goto(f"{url}/users")
    expect(page.locator("body")).to_contain_text("snapshot on a, b", timeout=SLOW_MS)


def control(page: Page, url: str, folder: Path) -> None:
    """May act, and sees neither configuration nor users."""
    page.goto(f"{url}/module/demo")
    expect(page.get_by_role("button", name="Swap sides")).to_be_visible(timeout=SLOW_MS)
    expect(page.get_by_role("button", name="Force primary")).to_have_count(0)
    expect(page.get_by_role("link", name="Configuration")).to_have_count(0)
    page.goto(f"{url}/cluster")
    expect(page.locator("body")).to_contain_text("When the nodes lose each other")
    expect(page.get_by_role("button", name="Download a snapshot")).to_have_count(0)
    page.goto(f"{url}/users")
    expect(page.get_by_role("button", name="Change my password")).to_be_visible(timeout=SLOW_MS)
    expect(page.locator("body")).not_to_contain_text("Add a user")


def monitor(page: Page, url: str, folder: Path) -> None:
    """Sees everything that is going on, and has nothing to press."""
    page.goto(f"{url}/module/demo")
    expect_state(page, "a", "PRIM")
    expect(page.locator(".tf-actions")).to_have_count(0)
    expect(page.locator(".tf-button")).to_have_count(0)
    for path in ("configuration", "configuration?target=demo", "configuration/new?from=files"):
        page.goto(f"{url}/{path}")
        expect(page.locator("body")).to_contain_text("for administrators", timeout=SLOW_MS)
        expect(page.locator(".cm-editor, .tf-button")).to_have_count(0)
    _may_not_act(page, url)


def _may_not_act(page: Page, url: str) -> None:
    """The same session past the pages, with the secret that its requests need."""
    me = page.request.get(f"{url}/api/v1/me").json()
    headers = {"x-csrf-token": me["csrf"], "origin": url}
    api = f"{url}/api/v1"
    mallory = {"name": "mallory", "role": "admin", "password": PASSWORD_OF_NOBODY}
    refused = [
        page.request.post(f"{api}/modules/demo/actions/stop", data={}, headers=headers),
        page.request.post(f"{api}/users", data=mallory, headers=headers),
        page.request.get(f"{api}/users"),
        page.request.get(f"{api}/audit"),
        page.request.get(f"{api}/snapshot"),
        page.request.get(f"{api}/modules/demo/files"),
    ]
    assert [r.status for r in refused] == [403] * len(refused), [r.status for r in refused]


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


STORIES = {
    "admin": admin,
    "configuration": configuration,
    "library": library,
    "people": people,
    "snapshot": snapshot,
    "control": control,
    "monitor": monitor,
    "pictures": pictures,
}


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
