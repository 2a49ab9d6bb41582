"""The page in a real browser: it shows, sorts and searches; it runs and loads nothing foreign."""

import json
import re
import shutil

import data
import numpy as np
import pytest

import opis_cli as opis
from opis_cli.files import write_text
from opis_cli.judging.gate import Outcome, judge
from opis_cli.judging.limits import RULES, Demands, Limit
from opis_cli.render import html

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
NAMES = (
    "<script>window.pwned=1</script>",
    "</script><script>window.pwned=2</script>",
    "<img src='http://evil.example/x' onerror='window.pwned=3'>",
    "{{ 7 * 7 }}{% raw %}",
    "plain",
    "javascript:window.pwned=4//\u202e\n",
)


def judged(spread=0.9):
    vectors, labels = data.blobs(240, len(NAMES), spread=spread)
    return opis.evaluate(vectors, np.array(NAMES, object)[labels])


@pytest.fixture(scope="module")
def made():
    """A failed verdict over classes of hostile names, with the run and its baseline."""
    old, new = judged(0.6), judged()
    limits = tuple(Limit(rule, 1.0 if rule.least else 0.0) for rule in RULES)
    demands = Demands(limits, "<b>old</b>", 0.95)
    verdict = judge(
        new,
        demands,
        baseline=old,
        threshold="0.5",
        path="</title><i>",
        evidence=new.explain(threshold=0.5),
        replicates=50,
    )
    return verdict, new, old


@pytest.fixture(scope="module")
def text(made):
    return html.page(Outcome(*made))


def test_the_page_is_whole_without_a_browser(made, text):
    assert "window.pwned" in text and "<script>window.pwned" not in text
    assert "<b>old" not in text and "</title><i>" not in text
    assert "<h2>max-far: Closest false accepts</h2>" in text
    # What looks like a template is text too.
    assert "{{ 7 * 7 }}{% raw %}" in text
    # Nothing to load: every address is a data address, or the source that is named as text.
    assert set(re.findall(r'(?:src|href)="(\w+:)', text)) == {"data:"}
    classes = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S)[1])
    table = made[1].classes().set_index("class")
    assert len(classes) == len(NAMES)
    plain = next(row for row in classes if row[0] == "plain")
    assert plain[1] == table["size"]["plain"]
    assert plain[5] == pytest.approx(table["mean_utility"]["plain"], rel=1e-5)
    there = made[1].classes(threshold=0.5).set_index("class").loc["plain"]
    assert plain[2:5] == pytest.approx(there[["far", "frr", "utility"]].tolist(), rel=1e-5)
    assert "<h2>Classes at the deployed threshold 0.5</h2>" in text


def test_a_page_of_little():
    """No threshold, no class to compare with, no baseline."""
    run = opis.evaluate(data.blobs(30, 3)[0], [0] * 10 + list(range(1, 21)), max_far=1e-9)
    verdict = judge(run, Demands((Limit(RULES[0], 1.0),), None, None))
    assert "Gate failed: 1 of 1 check" in html.page(Outcome(verdict, run))


def test_doubts_about_the_data_are_shown_as_text():
    vectors, labels = data.blobs(240, 6)
    names = np.array(["<b>a</b>", *"bcdef"], object)[labels]
    names[:150] = "<b>a</b>"
    run = opis.evaluate(vectors, names)
    (warning,) = run.report.source.warnings
    made = html.page(Outcome(judge(run, Demands((Limit(RULES[0], 1.0),), None, None)), run))
    assert "Class &lt;b&gt;a&lt;/b&gt; has" in made and "<b>a" not in made
    assert warning.kind == "one_class_dominates"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A headless Chromium that logs every request."""
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs pip install selenium")
    if CHROMIUM is None or DRIVER is None:
        pytest.skip("needs chromium and chromedriver")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


def visit(browser, tmp_path, text):
    """Open a page from a file; the addresses that it asked for."""
    write_text(tmp_path / "page.html", text)
    # Away from the browser's own first page, whose requests are none of ours.
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get((tmp_path / "page.html").as_uri())
    return requests(browser)


def requests(browser):
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def column(browser, index):
    return browser.execute_script(
        "return [...document.querySelectorAll('#classes tbody tr')]"
        ".map((row) => row.cells[arguments[0]].textContent)",
        index,
    )


def search(browser, text):
    browser.execute_script(
        "const box = document.getElementById('filter'); box.value = arguments[0];"
        "box.dispatchEvent(new Event('input'))",
        text,
    )


@pytest.mark.optional
def test_no_script_of_the_data_runs_and_nothing_is_loaded(browser, made, text, tmp_path):
    asked = visit(browser, tmp_path, text)
    assert asked and all(url.startswith(("file:", "data:")) for url in asked)
    assert browser.execute_script("return window.pwned") is None
    assert browser.title == f"Gate failed: {len(made[0].failed)} of {len(RULES)} checks"
    # Names are there, as they are but for what no line can show.
    shown = column(browser, 0)
    assert sorted(shown) == sorted(re.sub("[\n\u202e]", "�", name) for name in NAMES)
    for css in ("td img", "td script", "td i", "td b", "header i"):
        assert browser.find_elements("css selector", css) == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
    sizes = browser.execute_script(
        "return [...document.images].map((image) => image.naturalWidth * image.naturalHeight)"
    )
    assert len(sizes) == 2 and min(sizes) > 0
    # The policy stops even a script that found its way in.
    browser.execute_script(
        "const s = document.createElement('script'); s.textContent = 'window.pwned = 5';"
        "document.body.appendChild(s);"
        "const i = document.createElement('img'); i.src = 'http://127.0.0.1:9/x';"
        "document.body.appendChild(i)"
    )
    assert browser.execute_script("return window.pwned") is None
    refused = [entry["message"] for entry in browser.get_log("browser")]
    assert len(refused) == 2 and all("Content Security Policy" in text for text in refused)


@pytest.mark.optional
def test_ten_thousand_classes_sort_and_filter(browser, made, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    rows = [
        [f"person {i}", i % 50 + 2, *rng.random(7).round(6).tolist(), float(i)]
        for i in range(10_000)
    ]
    rows[5][4] = None
    monkeypatch.setattr(html, "_classes", lambda *_: rows)
    visit(browser, tmp_path, html.page(Outcome(*made)))
    count = browser.find_element("id", "count")
    assert count.text == "10,000 of 10,000 classes, 200 shown"
    # The worst come first: the utility rises.
    utility = [float(value) for value in column(browser, 4)]
    assert utility == sorted(utility) and len(utility) == 200
    assert min(utility) == pytest.approx(
        min(row[4] for row in rows if row[4] is not None), rel=1e-3
    )
    heads = browser.find_elements("css selector", "#classes th button")
    heads[0].click()
    assert column(browser, 0)[:3] == ["person 0", "person 1", "person 2"]
    heads[0].click()
    # Numbers in names sort as numbers.
    assert column(browser, 0)[:2] == ["person 9999", "person 9998"]
    head = browser.find_elements("css selector", "#classes th")[0]
    assert head.get_attribute("aria-sort") == "descending"
    for _ in range(2):
        # What is undefined comes last, whichever way.
        heads[4].click()
        assert "–" not in column(browser, 4)
    search(browser, "PERSON 123")
    assert count.text == "11 of 10,000 classes"
    assert all("person 123" in name for name in column(browser, 0))
    search(browser, "nobody")
    assert count.text == "0 of 10,000 classes" and column(browser, 0) == []
    search(browser, "")
    browser.find_element("id", "more").click()
    assert count.text == "10,000 of 10,000 classes, 400 shown" and len(column(browser, 0)) == 400


@pytest.mark.optional
@pytest.mark.parametrize("width", [375, 1280])
def test_it_fits_narrow_and_wide_screens_light_and_dark(browser, text, tmp_path, width):
    colors = []
    for scheme in ("light", "dark"):
        browser.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False},
        )
        browser.execute_cdp_cmd(
            "Emulation.setEmulatedMedia",
            {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
        )
        visit(browser, tmp_path, text)
        # The page itself never scrolls sideways; wide tables do, in their boxes.
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        colors.append(
            browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        )
    assert colors == ["rgb(255, 255, 255)", "rgb(20, 23, 26)"]
