"""The page in a real browser: what a person sees, and what happens when they press something.

    page.py URLS.json [--pictures FOLDER]

URLS.json names a daemon for each scene; tests/it/admin/browser.rs starts them. Every check prints a line; the first that
fails ends it with exit code 1.
"""

import json
import shutil
import sys
import time
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

# A bound on hangs; what is waited for comes within a second or two.
PATIENCE_MS = 20_000

PHONE = {"width": 390, "height": 844}
DESK = {"width": 1300, "height": 900}

FOUR_QUESTIONS = ["Is the cluster balanced?", "What is it doing?", "How do I stop it?"]


class Scene:
    """One window on one daemon. Scripts that fail and requests to elsewhere are failures of the page."""

    def __init__(self, browser, name, url, **window):
        self.name, self.url = name, url
        self.page = browser.new_page(**{"viewport": DESK, **window})
        self.page.set_default_timeout(PATIENCE_MS)
        self.trouble = []
        self.page.on("pageerror", lambda error: self.trouble.append(f"script: {error}"))
        self.page.on("console", self.hear)
        self.page.on("request", self.watch)
        self.page.goto(url)

    def hear(self, message):
        if message.type == "error" and "Content Security Policy" in message.text:
            self.trouble.append(message.text)

    def watch(self, request):
        if not request.url.startswith((self.url, "data:")):
            self.trouble.append(f"asks {request.url}")

    def close(self):
        assert not self.trouble, f"{self.name}: {self.trouble}"
        self.page.close()

    def says(self, selector, text):
        expect(self.page.locator(selector)).to_contain_text(text, timeout=PATIENCE_MS)

    def confirm(self, button):
        """Presses a button, and Yes."""
        self.page.click(button)
        expect(self.page.locator("#confirm")).to_be_visible()
        self.page.click("#confirm-yes")

    def fits(self):
        """Nothing makes the window scroll sideways."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide <= 0, f"{self.name} is {wide} pixels too wide"

    def api(self, path):
        """What the API says, to whoever asks it directly."""
        answer = self.page.request.get(self.url.rstrip("/") + path)
        assert answer.ok, f"{path}: {answer.status} {answer.text()}"
        return answer.json()

    def until(self, what, is_so):
        """Waits for something that only the API knows."""
        ends = time.monotonic() + PATIENCE_MS / 1000
        while not is_so():
            assert time.monotonic() < ends, f"{self.name}: never {what}"
            self.page.wait_for_timeout(50)

    def picture(self, folder, full=False):
        if folder:
            self.page.evaluate("window.scrollTo(0, 0)")
            self.page.screenshot(path=str(folder / f"{self.name}.png"), full_page=full)


def first_view(browser, urls, pictures):
    for name, window in {
        "light": {"color_scheme": "light"},
        "dark": {"color_scheme": "dark"},
        "phone": {"viewport": PHONE, "has_touch": True},
    }.items():
        scene = Scene(browser, name, urls["moving"], **window)
        for question in [*FOUR_QUESTIONS, "Why not?"]:
            scene.says("#state", question)
        scene.says("#state .word", "No")
        expect(scene.page.locator("table.heat tbody tr").first).to_be_visible()
        expect(scene.page.locator("#pause")).to_be_enabled()
        scene.fits()
        scene.picture(pictures, full=True)
        scene.close()


def without_script(browser, urls, pictures):
    scene = Scene(browser, "without-script", urls["moving"], java_script_enabled=False)
    scene.says("#state .word", "No")
    scene.says("noscript .note", "milvus-rebalancer pause")
    expect(scene.page.locator("#pause")).to_be_disabled()
    scene.page.fill("input[name=node]", scene.page.locator("table.heat tbody a").first.inner_text())
    scene.page.click("form.ask button")
    scene.says("#answer", "fair share")
    scene.close()


def moving(browser, urls, pictures):
    """Paused at first: resumed, its moves are seen to land without a reload; paused again, it stops."""
    scene = Scene(browser, "moving", urls["moving"])
    page = scene.page
    page.evaluate("window.neverReloaded = true")
    scene.says("#state", "Paused by")
    scene.page.click("#resume")
    expect(page.locator("#confirm-text")).to_contain_text("Resume?")
    page.click("#confirm button[value=no]")
    scene.says("#state", "Paused by")
    # A word that somebody is typing meanwhile stays.
    page.fill("#pause-form input[name=reason]", "lunch <b>break</b>")
    scene.confirm("#resume")
    scene.says("#result", "Done.")
    expect(page.locator("#resume")).to_have_count(0)
    scene.says("#moving", "landed")
    page.wait_for_function("document.querySelectorAll('#timeline rect.landed').length > 1")
    scene.picture(pictures)
    assert page.input_value("#pause-form input[name=reason]") == "lunch <b>break</b>"
    page.select_option("#pause-form select", "15m")
    scene.confirm("#pause")
    scene.says("#state", "lunch <b>break</b>")
    scene.says("#state", "until")
    expect(page.locator("#resume")).to_be_enabled()
    page.wait_for_function("document.querySelectorAll('#timeline rect.shade.paused').length > 0")
    assert page.evaluate("window.neverReloaded"), "the page was loaded again"
    scene.close()


def refused_order(browser, urls, pictures):
    scene = Scene(browser, "refused", urls["moving"])
    scene.page.fill("form[data-path$='/drain'] input[name=node]", "424242")
    scene.confirm("#drain")
    scene.says("#result", "no query node has the id 424242")
    scene.close()


def drain(browser, urls, pictures):
    """A node is ordered to be emptied and that is taken back; who says No orders nothing."""
    scene = Scene(browser, "drain", urls["advising"])
    page = scene.page
    node = page.locator("table.heat tbody a").last.inner_text()
    form = "form[data-path$='/drain']"
    page.fill(f"{form} input[name=node]", node)
    page.fill(f"{form} input[name=reason]", "new disk")
    page.click("#drain")
    expect(page.locator("#confirm-text")).to_contain_text(f"Empty node {node}?")
    page.click("#confirm button[value=no]")
    assert scene.api("/v1/controls")["drains"] == []
    scene.confirm("#drain")
    scene.says("#result", "Done.")
    scene.says("#in-force", f"Node {node} is being emptied")
    scene.says("#state", f"Node {node} is being emptied, ordered by page")
    scene.says(f"table.heat tr:has(a[href='?node={node}#ask'])", "is to be emptied")
    ordered = scene.api("/v1/controls")["drains"]
    assert [(order["node"], order["reason"]) for order in ordered] == [(node, "new disk")], ordered
    scene.until("drained", lambda: scene.api(f"/v1/nodes/{node}")["drained"])
    # By keyboard, as the confirmation's first choice is No.
    page.focus(f"#undrain-{node}")
    page.keyboard.press("Enter")
    expect(page.locator("#confirm-text")).to_contain_text("Take back")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.locator(f"#undrain-{node}")).to_have_count(0)
    assert scene.api("/v1/controls")["drains"] == []
    scene.until("taken back", lambda: not scene.api(f"/v1/nodes/{node}")["drained"])
    actions = [entry["action"] for entry in scene.api("/v1/audit")["items"]]
    assert actions == ["undrain", "drain"], actions
    scene.close()


def by_hand(browser, urls, pictures):
    """A segment is moved by hand: the page asks first, and shows where it has gone."""
    scene = Scene(browser, "by-hand", urls["advising"])
    page = scene.page
    step = scene.api("/v1/plan?limit=1")["steps"]["items"][0]["moves"][0]
    segment, source, target = step["segment"], step["from"], step["to"]
    of = next(known for known in scene.api("/v1/collections")["items"] if known["id"] == step["collection"])
    page.click("#by-hand summary")
    form = "#by-hand form"
    for field, value in {
        "collection": of["name"],
        "database": of["database"],
        "src_node": source,
        "dst_nodes": target,
        "segments": segment,
    }.items():
        page.fill(f"{form} input[name={field}]", value)
    page.click("#load-balance")
    expect(page.locator("#confirm-text")).to_contain_text(f"Move segments of {of['name']} off node {source} now?")
    page.click("#confirm button[value=no]")
    assert scene.api("/v1/operations")["items"] == []
    scene.confirm("#load-balance")
    scene.says("#result", f"segment {segment} (node {source} → node {target}): moved")
    scene.says("#moving", f"segment {segment} of {of['name']}")
    scene.says("#moving", "by hand")
    moved = scene.api(f"/v1/operations?segment={segment}")["items"][0]
    assert (moved["origin"], moved["state"], moved["to"]) == ("manual", "landed", target), moved
    on_target = lambda: any(copy["id"] == segment for copy in scene.api(f"/v1/segments?node={target}&limit=1000")["items"])
    scene.until("seen on the other node", on_target)
    scene.close()


def approve(browser, urls, pictures):
    """Nothing moves before the plan is approved; then it does."""
    scene = Scene(browser, "approve", urls["approving"])
    page = scene.page
    scene.says("#plan", "This plan waits for approval.")
    waiting = scene.api("/v1/controls")["waiting_plan"]
    assert scene.api("/v1/operations")["items"] == []
    scene.picture(pictures)
    page.click("#approve")
    expect(page.locator("#confirm-text")).to_contain_text(f"Approve plan {waiting}?")
    page.click("#confirm button[value=no]")
    assert scene.api("/v1/controls")["approved_plan"] is None
    scene.confirm("#approve")
    scene.says("#result", "Done.")
    scene.says("#moving", "landed")
    operations = scene.api("/v1/operations")["items"]
    assert operations and operations[-1]["origin"] == "daemon", operations
    approvals = [entry for entry in scene.api("/v1/audit")["items"] if entry["action"] == "approve"]
    assert approvals[0]["detail"]["digest"] == waiting, approvals
    scene.close()


def why(browser, urls, pictures):
    """By keyboard alone: a node's link, Enter, and the answer."""
    scene = Scene(browser, "why", urls["moving"])
    link = scene.page.locator("table.heat tbody a").first
    node = link.inner_text()
    link.focus()
    scene.page.keyboard.press("Enter")
    scene.says("#answer h3", f"node {node}")
    scene.says("#answer", "fair share")
    assert scene.page.input_value("input[name=node]") == node
    scene.page.fill("input[name=node]", "nonsense")
    scene.page.keyboard.press("Enter")
    scene.says("#answer", "is no id of a node")
    scene.close()


def empty(browser, urls, pictures):
    scene = Scene(browser, "empty", urls["empty"])
    scene.says("#state", "There are no query nodes.")
    scene.says("#map", "There are no query nodes.")
    scene.fits()
    scene.close()


def unreachable(browser, urls, pictures):
    scene = Scene(browser, "unreachable", urls["unreachable"])
    scene.says("#state .word", "Nobody can tell")
    scene.says("#state", "127.0.0.1:9")
    scene.picture(pictures)
    scene.close()


def hostile(browser, urls, pictures):
    scene = Scene(browser, "hostile", urls["hostile"], viewport=PHONE)
    scene.says("#plan", "<script>document.title='owned'</script>")
    assert "owned" not in scene.page.title(), scene.page.title()
    assert scene.page.locator("script").count() == 1
    scene.fits()
    scene.close()


def thousand(browser, urls, pictures):
    began = time.monotonic()
    scene = Scene(browser, "thousand", urls["thousand"])
    fields = scene.page.locator("#map .fields").first.locator("i")
    assert fields.count() == 1000, fields.count()
    scene.fits()
    scene.picture(pictures)
    field = fields.nth(500)
    node = field.get_attribute("title").split(":")[0]
    field.click()
    scene.says("#answer h3", f"node {node}")
    print(f"   1,000 nodes: shown, asked and answered in {time.monotonic() - began:.1f} s")
    scene.close()


def gone(browser, urls, pictures):
    """When nobody answers any more the page says so instead of showing the past as the present."""
    scene = Scene(browser, "gone", urls["hostile"])
    scene.page.route("**/*", lambda route: route.abort())
    scene.page.evaluate("refresh()")
    scene.says("#connection", "what was last known")
    scene.trouble.clear()
    scene.close()


# The order matters: `moving` resumes what the others want to see at rest.
SCENES = [
    first_view,
    without_script,
    refused_order,
    why,
    drain,
    by_hand,
    approve,
    empty,
    unreachable,
    hostile,
    thousand,
    gone,
    moving,
]


def main():
    urls = json.loads(Path(sys.argv[1]).read_text())
    pictures = Path(sys.argv[3]) if "--pictures" in sys.argv else None
    if pictures:
        pictures.mkdir(parents=True, exist_ok=True)
    chromium = shutil.which("chromium")
    assert chromium, "needs chromium"
    with sync_playwright() as playwright:
        # Root in a container has no user namespaces to make a sandbox of.
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for scene in SCENES:
            began = time.monotonic()
            scene(browser, urls, pictures)
            print(f"ok {scene.__name__} ({time.monotonic() - began:.1f} s)", flush=True)
        browser.close()


if __name__ == "__main__":
    main()
