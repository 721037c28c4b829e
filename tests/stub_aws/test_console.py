"""The console of the stub AWS: in a real browser, and against those whom it should keep out."""

from __future__ import annotations

import http.client
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select

from lessons.on_stub import OPTIONS
from stub_aws.console import PERMISSIONS, web
from tests.support import browser as browsers
from tests.support import stub_jobs
from tests.support.stub_jobs import (
    BUCKET,
    Account,
    Meeting,
    StubProcess,
    eventually,
    needs_namespaces,
    unique,
)

ROOT = Path(__file__).resolve().parents[2]
METRICS = {
    "train:loss": r"train:loss=([0-9.]+);",
    "validation:loss": r"validation:loss=([0-9.]+);",
}
HOSTILE = "<img src=x onerror='window.hacked=1'><script>window.hacked=2</script>&lt;b&gt;"


@pytest.fixture(scope="module")
def account(stub_aws):
    return Account(stub_aws.environment, stub_aws.role_arn)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browsers.start(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


class Page:
    """The console in the browser, as a reader sees it."""

    def __init__(self, browser, url: str) -> None:
        self.browser, self.url = browser, url
        self.size(1280)

    def size(self, width: int, height: int = 900) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def open(self, path: str = "") -> None:
        self.browser.get(self.url + path)
        eventually("a title", lambda: self.all("h1"))

    def all(self, selector: str) -> list:
        return self.browser.find_elements(By.CSS_SELECTOR, selector)

    def one(self, selector: str):
        return eventually(selector, lambda: self.all(selector))[0]

    def text(self, selector: str) -> str:
        return self.script(
            "return [...document.querySelectorAll(arguments[0])].map(e => e.innerText).join('\\n')",
            selector,
        )

    def sees(self, text: str, selector: str = "main") -> None:
        eventually(f"{text!r} in {selector}", lambda: text in self.text(selector))

    def script(self, source: str, *arguments):
        return self.browser.execute_script(source, *arguments)

    def button(self, text: str):
        path = f"//button[normalize-space()='{text}']"

        def shown():
            buttons = self.browser.find_elements(By.XPATH, path)
            return [button for button in buttons if button.is_displayed()]

        return eventually(f"the button {text}", shown)[0]

    def names(self) -> list[str]:
        return self.text(".jobs td.name").splitlines()

    def focused(self) -> str:
        return self.script("return document.activeElement.innerText || document.activeElement.id")

    def errors(self) -> list[str]:
        """Return what the browser complained of, a breach of the Content-Security-Policy for
        example."""
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def requests(self) -> list[str]:
        """Return the addresses of all requests since the last call."""
        events = (json.loads(entry["message"]) for entry in self.browser.get_log("performance"))
        sent = (
            m["message"] for m in events if m["message"]["method"] == "Network.requestWillBeSent"
        )
        return [message["params"]["request"]["url"] for message in sent]


@pytest.fixture
def page(chromium, stub_aws):
    page = Page(chromium, stub_aws.console_url)
    page.errors(), page.requests()  # those of the test before
    yield page
    assert page.errors() == []
    asked = page.requests()
    assert asked
    foreign = [url for url in asked if not url.startswith(stub_aws.url)]
    assert [url for url in foreign if not url.startswith(("data:", "chrome"))] == []


# ---- The browser is there ----------------------------------------------------------------------


def test_guard_ci_has_a_browser_and_skips_nothing_here():
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"export {browsers.NEEDED}=1" in ci
    assert ".ci/run" in (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    if os.environ.get(browsers.NEEDED):
        assert browsers.find(), browsers.MISSING


@pytest.mark.parametrize(
    ("needed", "outcome"), [("1", pytest.fail.Exception), (None, pytest.skip.Exception)]
)
def test_missing_browser_fails_in_ci_and_is_skipped_elsewhere(
    monkeypatch, tmp_path, needed, outcome
):
    monkeypatch.setattr(browsers, "find", lambda: None)
    monkeypatch.delenv(browsers.NEEDED, raising=False)
    if needed:
        monkeypatch.setenv(browsers.NEEDED, needed)
    with pytest.raises(outcome, match="chromedriver"), browsers.start(tmp_path):
        pass


# ---- In the browser: the list ------------------------------------------------------------------


@pytest.fixture(scope="module")
def trio(account):
    """Three jobs that have ended, one of them badly."""
    stem = unique("trio")
    names = [f"{stem}-{word}" for word in ("b-good", "a-bad", "c-good")]
    for name in names:
        account.run("sys.exit(3)" if "bad" in name else "", name=name)
    return stem, names


def test_list_shows_every_job_and_sorts_by_each_column(page, trio):
    stem, names = trio
    page.open(f"?name={stem}")
    eventually("the three jobs", lambda: page.names() == names[::-1])  # newest first
    assert "3 of" in page.text(".count") or page.text(".count") == "3 jobs"
    row = page.text(".jobs tr:nth-child(2)")
    assert re.search(
        r"a-bad\s+✕\s*Failed\s+\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\s+[\d.]+ s\s+(< )?\$0\.0", row
    )

    page.button("Name").send_keys(Keys.ENTER)  # by keyboard
    eventually("sorted by name", lambda: page.names() == sorted(names))
    assert page.one("th[aria-sort]").get_attribute("aria-sort") == "ascending"
    assert page.focused() == "Name"
    page.button("Name").click()
    eventually("sorted backwards", lambda: page.names() == sorted(names, reverse=True))
    page.button("Status").click()
    eventually("sorted by status", lambda: page.names()[2] == names[1])
    for column in ("Created", "Duration", "Cost"):
        page.button(column).click()
        assert page.one("th[aria-sort]").text.startswith(column)
        assert sorted(page.names()) == sorted(names)


def test_list_is_filtered_by_name_and_status_and_says_when_nothing_fits(page, trio):
    stem, names = trio
    page.open()
    page.one("#by-name").send_keys(stem.upper())
    eventually("the three jobs", lambda: sorted(page.names()) == sorted(names))
    Select(page.one("#by-status")).select_by_visible_text("Failed")
    eventually("the one that failed", lambda: page.names() == [names[1]])
    page.browser.refresh()  # the address keeps the choice
    eventually("the one that failed", lambda: page.names() == [names[1]])
    page.one("#by-name").send_keys("nowhere")
    page.sees("No job fits.")
    page.button("Show all").click()
    eventually("all jobs", lambda: set(names) <= set(page.names()))
    assert page.focused() == "by-name"


def test_without_prices_there_are_seconds_instead_of_costs(chromium, monkeypatch):
    no_prices = OPTIONS[: OPTIONS.index("--prices")]
    monkeypatch.setattr(stub_jobs, "STUB", [sys.executable, "-m", "stub_aws", *no_prices])
    with StubProcess() as stub:
        name = stub.account.run()["TrainingJobName"]
        page = Page(chromium, stub.environment["SAGEMAKER_CONSOLE_URL"])
        page.open()
        page.sees("Completed", ".jobs")
        assert page.text(".jobs th").split() == ["Name", "Status", "Created", "Duration", "Billed"]
        assert re.fullmatch(r"[\d.]+ s", page.text(".jobs td:nth-child(5)"))
        assert "1 x ml.m5.large; the stub AWS has no prices" in page.one(
            ".jobs td:nth-child(5)"
        ).get_attribute("title")
        page.button("Billed").click()
        assert page.one("th[aria-sort]").text.startswith("Billed")
        page.open(f"jobs/{name}")
        page.sees("Billable", ".facts")
        assert "Cost" not in page.text("main")
        assert "$" not in page.text("main")


def test_job_that_starts_and_ends_is_seen_without_a_reload(page, account):
    name = unique("fresh")
    page.open(f"?name={name}")
    page.sees("No ")
    with Meeting() as meeting:
        account.start("meet()", name=name, meeting=meeting)
        page.sees("In progress", ".jobs")
        meeting.wait()
        page.sees("Training", ".jobs")
    page.sees("Completed", ".jobs")


# ---- In the browser: a job ---------------------------------------------------------------------


def test_job_opens_from_the_list_and_shows_what_it_was_asked_and_left(page, account):
    account.put("console/train/passengers.csv", "a,b")
    name = unique("whole")
    account.run(
        "(MODEL / 'model.txt').write_text('m')",
        name=name,
        channels={"train": (f"s3://{BUCKET}/console/train/", "FullyReplicated")},
        hyperparameters={"max_depth": "3"},
        metrics=METRICS,
        Tags=[{"Key": "lesson", "Value": "06"}],
    )
    page.open(f"?name={name}")
    page.one(".jobs a").send_keys(Keys.ENTER)
    page.sees("Completed", ".title")
    assert page.one("h1").text == name
    page.sees("model.tar.gz", ".artifacts")
    for text, selector in (
        ("max_depth\n3", ".hyperparameters"),
        (f"s3://{BUCKET}/console/train/", ".channels"),
        ("FullyReplicated", ".channels"),
        ("5 min", ".settings"),
        ("sagemaker-workshop-execution-role", ".settings"),
        ("Tags (1)", ".settings"),
        ("1 x ml.m5.large", ".facts"),
        ("No line of the log holds a metric.", "main"),
    ):
        page.sees(text, selector)
    described = account.describe(name)
    statuses = [step["Status"] for step in described["SecondaryStatusTransitions"]]
    assert page.text(".steps strong").splitlines() == statuses
    assert f"{described['BillableTimeInSeconds']} s each" in page.text(".facts")

    page.one(".channels a").click()
    page.sees("passengers.csv", ".objects")
    page.one(".crumbs li:nth-child(2) a").click()
    page.sees("console/", ".objects")


def test_metrics_grow_while_the_job_trains(page, account):
    say = 'print("train:loss={0};", "validation:loss=1.{0};", flush=True); meet(); '
    name = unique("metrics")
    with Meeting() as meeting:
        script = say.format(9) + say.format(7) + say.format(4)
        account.start(script, name=name, metrics=METRICS, meeting=meeting)
        page.open(f"jobs/{name}")
        for count, last in ((1, "9"), (2, "7"), (3, "4")):
            meeting.wait()
            sentence = (
                f"train:loss: {count} values, from 9 to {last}; validation:loss: {count} values"
            )
            eventually(sentence, lambda sentence=sentence: charts_say(page, sentence))
            assert len(page.all(".chart polyline")) == 2
            assert len(page.all(".picture .mark")) == 2 * count
            assert page.one(".title .status").text.startswith("●")
            meeting.release()
    page.sees("Completed", ".title")
    page.one(".chart summary").click()
    assert page.text(".chart tbody").split()[1::3].count("train:loss") == 3


def charts_say(page, text: str) -> bool:
    label = "return document.querySelector('.picture svg')?.getAttribute('aria-label') ?? ''"
    return text in page.script(label)


@needs_namespaces
def test_log_of_every_host_is_read_as_it_comes(page, account):
    name = unique("hosts")
    script = """
host = os.environ["SM_CURRENT_HOST"]
print("first of", host, flush=True); meet(); print("second of", host, flush=True)
"""
    with Meeting() as meeting:
        account.start(script, name=name, hosts=2, meeting=meeting)
        page.open(f"jobs/{name}")
        meeting.wait(2)
        page.sees("first of algo-1", "#log-algo-1")
        assert "second" not in page.text("#log-algo-1")
        assert not page.one("#log-algo-2").is_displayed()
        page.one("#tab-algo-1").send_keys(Keys.ARROW_RIGHT)
        eventually("the other host's log", lambda: page.one("#log-algo-2").is_displayed())
        page.sees("first of algo-2", "#log-algo-2")
        assert page.focused() == "algo-2"
    page.sees("second of algo-2", "#log-algo-2")
    page.sees("Completed", ".title")
    end = "const e = document.getElementById('log-algo-2'); return e.scrollTop + e.clientHeight"
    assert page.script(f"{end} >= e.scrollHeight - 30")  # it has followed
    page.one("#find").send_keys("SECOND of")
    eventually("one line", lambda: page.text("#log-algo-2").count("\n") <= 1)
    assert "second of algo-2" in page.text("#log-algo-2")
    assert re.match(r"1 of \d+ lines", page.text(".logbar .count"))
    # Each line stands there once, whatever number of answers brought it.
    lines = "return [...document.querySelectorAll('#log-algo-1 code')].map(e => e.textContent)"
    assert page.script(lines) == account.log(name, "algo-1")


def test_job_is_stopped_after_a_question_and_keeps_what_it_saved(page, account):
    name = unique("stopped")
    script = """
def save(*_):
    (MODEL / "model.txt").write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
meet()
"""
    with Meeting() as meeting:
        account.start(script, name=name, meeting=meeting)
        meeting.wait()
        page.open(f"jobs/{name}")
        page.button("Stop job…").click()
        assert page.focused() == "Let it run"  # Enter by mistake does no harm
        page.browser.switch_to.active_element.send_keys(Keys.ENTER)
        eventually("no question", lambda: not page.all("dialog[open]"))
        assert account.describe(name)["TrainingJobStatus"] == "InProgress"
        page.button("Stop job…").click()
        page.browser.switch_to.active_element.send_keys(Keys.ESCAPE)
        eventually("no question", lambda: not page.all("dialog[open]"))
        assert account.describe(name)["TrainingJobStatus"] == "InProgress"
        page.button("Stop job…").click()
        page.button("Stop the job").click()
        page.sees("Stopped", ".title")
        assert account.wait(name)["TrainingJobStatus"] == "Stopped"
    page.sees("model.tar.gz", ".artifacts")
    assert account.unpack(name) == {"model.txt": b"saved"}
    assert not page.one(".danger").is_displayed()


def test_markup_from_a_job_is_text(page, account):
    name = unique("hostile")
    script = f"""
text = {HOSTILE!r}
print(text, flush=True)
print("train:loss=1;")
(OUTPUT / text.replace("/", "_")).write_text("x")
Path(os.environ["SM_OUTPUT_DIR"], "failure").write_text(text)
sys.exit(1)
"""
    key = f"hostile/{name}/<img src=x onerror=alert(1)>.html"
    account.put(key, "<script>alert(1)</script>")
    account.run(
        script,
        name=name,
        metrics={"<img src=x onerror='window.hacked=3'>": r"train:loss=(\d);"},
        hyperparameters={"note": HOSTILE},
        channels={"train": (f"s3://{BUCKET}/hostile/{name}/", "FullyReplicated")},
        Environment={"NOTE": HOSTILE},
    )
    page.open(f"jobs/{name}")
    page.sees(HOSTILE, ".lines")
    page.sees(HOSTILE, ".failure")
    page.sees(HOSTILE, ".hyperparameters")
    page.sees("<img src=x", ".chart")
    page.open(f"objects/{BUCKET}/hostile/{name}/")
    page.sees("<img src=x onerror=alert(1)>.html", ".objects")
    assert page.all("main img, main script") == []
    assert page.script("return window.hacked ?? null") is None


def test_unknown_job_is_said_and_leads_back(page):
    page.open("jobs/no-such-job")
    page.sees("No training job is called “no-such-job”.")
    assert any("404" in message for message in page.errors())  # the browser's own note of it
    page.one("main a").click()
    page.one("#by-name")


def test_everything_fits_a_phone_and_has_its_name(page, account, trio):
    _, names = trio
    account.put("console/a-rather-long-folder-name/" + "x" * 120 + ".csv", "a")
    for width in (400, 1280):
        page.size(width)
        for path in ("", f"jobs/{names[1]}", "objects", f"objects/{BUCKET}/console/"):
            page.open(path)
            eventually("content", lambda: page.all("main a, main input"))
            sizes = "return [document.documentElement.scrollWidth, window.innerWidth]"
            content, window = page.script(sizes)
            assert content <= window, f"{path} is {content} wide on {window}"
            nameless = """
                return [...document.querySelectorAll("input, select, button, a, svg[role=img]")]
                  .filter(e => !e.labels?.length && !e.innerText?.trim() &&
                               !e.textContent.trim() && !e.ariaLabel)
                  .map(e => e.outerHTML)"""
            assert page.script(nameless) == []
            assert page.browser.title.endswith("Console")


def test_keyboard_reaches_content_first_and_shows_where_it_is(page, trio):
    page.open()
    page.one(".jobs a")
    page.script("document.activeElement.blur()")
    body = page.one("body")
    body.send_keys(Keys.TAB)
    assert page.focused() == "Skip to the content"
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    page.browser.switch_to.active_element.send_keys(Keys.TAB)
    assert page.focused() == "by-name"
    outline = "return getComputedStyle(document.activeElement).outlineStyle"
    assert page.script(outline) == "solid"


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_can_be_told_from_their_ground(scheme):
    """WCAG 2.2, 1.4.3: a contrast of 4.5 for text."""
    css = (web.STATIC / "console.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", css, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{3,6})", block))
    on_sheet = ("text", "muted", "accent", "blue", "green", "red", "amber", "gray", "c0", "c1")
    pairs = [(name, ground) for name in on_sheet for ground in ("sheet", "ground")]
    pairs += [("on-head", "head"), ("on-accent", "accent")]
    ratios = {pair: contrast(colours[pair[0]], colours[pair[1]]) for pair in pairs}
    assert {pair: ratio for pair, ratio in ratios.items() if ratio < 4.5} == {}


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = (int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4))
        red, green, blue = (
            p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


# ---- Who is kept out, and how ------------------------------------------------------------------


def ask(url: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One plain request; no redirect is followed."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=30)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    connection.request(method, path, headers={k.replace("_", "-"): v for k, v in headers.items()})
    answer = connection.getresponse()
    try:
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_without_the_secret_nothing_is_told(stub_aws):
    root = f"{stub_aws.url}/_console"
    for address in (root, f"{root}/", f"{root}/wrong/", f"{root}/wrong/api/jobs"):
        status, headers, body = ask(address)
        assert status == 403
        assert "an address of its own" in json.loads(body)["error"]
        assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize("path", ["", "api/jobs", "console.js"])
def test_foreign_name_for_this_address_is_refused(stub_aws, path):
    """DNS rebinding: a page of evil.example whose name suddenly means 127.0.0.1."""
    port = urlsplit(stub_aws.url).port
    for host in (f"evil.example:{port}", "127.0.0.1", f"127.0.0.1.evil.example:{port}"):
        assert ask(stub_aws.console_url + path, Host=host)[0] == 403


def test_foreign_page_cannot_stop_a_job(stub_aws, account):
    name = unique("safe")
    url = f"{stub_aws.console_url}api/jobs/{name}/stop"
    own = stub_aws.url
    with Meeting() as meeting:
        account.start("meet()", name=name, meeting=meeting)
        meeting.wait()
        refused = (
            {},
            {"X_Console": "1"},
            {"Origin": own},
            {"X_Console": "1", "Origin": "http://evil.example"},
            {"X_Console": "1", "Origin": "null"},
        )
        for headers in refused:
            assert ask(url, "POST", **headers)[0] == 403, headers
        assert ask(url, "OPTIONS", Origin="http://evil.example")[0] == 405
        assert ask(url, "GET")[0] == 404
        assert account.describe(name)["TrainingJobStatus"] == "InProgress"
        assert ask(url, "POST", X_Console="1", Origin=own)[0] == 200
        assert account.wait(name)["TrainingJobStatus"] == "Stopped"
    status, _, body = ask(url, "POST", X_Console="1", Origin=own)
    assert status == 400
    assert "in status Stopped" in json.loads(body)["error"]


@pytest.mark.parametrize("path", ["", "jobs/x", "main.js", "api/jobs", "api/jobs/none", "nothing"])
def test_every_answer_has_the_strict_headers(stub_aws, path):
    _, headers, _ = ask(stub_aws.console_url + path)
    assert {name.lower(): value for name, value in web.HEADERS.items()}.items() <= headers.items()
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("api/jobs/none", 404),
        ("api/jobs/none/logs", 404),
        ("api/nothing", 404),
        ("nothing", 404),
        ("..%2f..%2fweb.py", 404),
        ("../web.py", 404),
        ("api/objects?bucket=no-such-bucket", 404),
        (f"download/{BUCKET}/no-such-object", 404),
        ("api/jobs/none/logs?after=[]", 400),
        ("api/jobs/none/logs?after=%7B", 400),
    ],
)
def test_what_is_not_there_is_said_in_a_sentence(stub_aws, account, path, status):
    got, headers, body = ask(stub_aws.console_url + path)
    assert got == status
    assert headers["content-type"] == "application/json"
    assert json.loads(body)["error"]


def test_objects_are_saved_by_the_browser_and_never_shown(stub_aws, account):
    key = "console/a b&c/<x>.html"
    account.put(key, "<script>alert(1)</script>")
    status, headers, _ = ask(f"{stub_aws.console_url}download/{BUCKET}/{quote(key)}")
    assert status == 302
    status, headers, body = ask(headers["location"])
    assert (status, body) == (200, b"<script>alert(1)</script>")
    assert headers["content-disposition"] == "attachment"
    assert headers["content-type"] == "application/octet-stream"


def test_console_user_may_look_and_stop_and_nothing_else(stub_aws):
    allowed = [action for statement in PERMISSIONS["Statement"] for action in statement["Action"]]
    actions = {action.partition(":")[2] for action in allowed}
    assert "StopTrainingJob" in actions
    reading = ("Describe", "Get", "List")
    assert {a for a in actions if not a.startswith(reading)} == {"StopTrainingJob"}


def test_api_beside_it_is_as_it_was(stub_aws, account):
    """An S3 bucket may be called `console`: the console's own path is no bucket's name."""
    with pytest.raises(account.s3.exceptions.ClientError, match="AccessDenied"):
        account.s3.list_objects_v2(Bucket="console")
    assert ask(f"{stub_aws.url}/console/")[0] == 403
    assert b"<Code>AccessDenied</Code>" in ask(f"{stub_aws.url}/_consoles/x")[2]


def test_long_log_is_read_to_its_end(stub_aws, account):
    name = unique("long")
    account.run("for n in range(10_050): print('line', n)", name=name, metrics=METRICS)
    url = f"{stub_aws.console_url}api/jobs/{name}/logs"
    first = json.loads(ask(url)[2])
    (stream,) = first["streams"]
    assert len(stream["events"]) == 10_000
    after = f"?after={json.dumps(first['tokens']).replace(' ', '')}".replace('"', "%22")
    second = json.loads(ask(url + after)[2])
    messages = [e["message"] for part in (first, second) for e in part["streams"][0]["events"]]
    assert messages == account.log(name)
    assert "line 10049" in messages


def test_address_is_printed_at_the_start_and_leads_to_the_page():
    command = (
        "import os, urllib.request; "
        "print(urllib.request.urlopen(os.environ['SAGEMAKER_CONSOLE_URL']).status)"
    )
    done = subprocess.run(
        [sys.executable, "-m", "stub_aws", sys.executable, "-c", command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "200\n"), done.stderr
    assert re.fullmatch(
        r"stub AWS: its console is at http://127\.0\.0\.1:\d+/_console/[\w-]{24}/\n", done.stderr
    )
