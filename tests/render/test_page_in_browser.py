"""The page in a real browser: its live numbers, its controls, and that nothing foreign runs."""

import importlib.util
import json
import re
import shutil
import warnings
from pathlib import Path

import data
import numpy as np
import pages
import pytest

import opis_cli as opis
from opis_cli.files import write_text
from opis_cli.judging.gate import Outcome, judge
from opis_cli.judging.limits import RULES, Demands, Limit
from opis_cli.render.page.html import gate_page, report_page
from opis_cli.scoring.who_pays import FEW_PAIRS
from opis_cli.text import number, rate

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
pytestmark = pytest.mark.optional


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
    driver.set_script_timeout(20)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def run():
    """Fifty classes, many with few rows, and bounds."""
    return opis.evaluate(*data.MADE["long_tail"], max_far=0.02, max_frr=0.6)


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    """The page of the run, as an address."""
    return written(tmp_path_factory.mktemp("page"), report_page(run))


@pytest.fixture(scope="module")
def gate(tmp_path_factory):
    """The page of a gate that failed, over hostile names and names of many scripts."""
    names = (*pages.HOSTILE, *pages.SCRIPTS)
    old, new = pages.named(names, 0.6, 400), pages.named(names, 0.9, 400)
    demands = Demands((Limit(RULES[0], 0.0), Limit(RULES[1], 1.0)), "<b>old</b>", None)
    verdict = judge(new, demands, baseline=old, evidence=new.explain(), replicates=10)
    with warnings.catch_warnings():
        # The picture for those without the script may lack a font, which the browser may have.
        warnings.filterwarnings("ignore", "no font here")
        text = gate_page(Outcome(verdict, new, old))
    return written(tmp_path_factory.mktemp("gate"), text)


def written(folder, text):
    write_text(folder / "page.html", text)
    return (folder / "page.html").as_uri()


def visit(browser, address, width=1280, scheme="light"):
    """Open a page, and wait until its script has drawn it; the addresses that it asked for."""
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"media": "", "features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    # Away from the browser's own first page, whose requests are none of ours.
    browser.get("about:blank")
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(address)
    drawn(browser)
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        message["params"]["request"]["url"]
        for message in messages
        if message["method"] == "Network.requestWillBeSent"
    ]


def drawn(browser):
    """Wait until the page shows what was chosen."""
    browser.execute_async_script(
        "const done = arguments[0];"
        "const look = () => document.documentElement.classList.contains('ready')"
        " ? requestAnimationFrame(() => requestAnimationFrame(() => done()))"
        " : requestAnimationFrame(look);"
        "look()"
    )


def type_into(browser, name, text, event="input"):
    browser.execute_script(
        "const box = document.getElementById(arguments[0]); box.value = arguments[1];"
        "box.dispatchEvent(new Event(arguments[2], {bubbles: true}))",
        *(name, text, event),
    )
    drawn(browser)


def text_of(browser, name):
    return browser.execute_script(
        "return document.getElementById(arguments[0]).textContent", name
    ).strip()


def rows(browser):
    """The rows of the table: a list of texts each, small text after a bar."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#classes tbody tr')].map((row) => [...row.cells]"
        ".map((cell) => [...cell.childNodes].map((part) => part.textContent).join('|')))"
    )


def test_no_script_of_the_data_runs_and_nothing_is_loaded(browser, gate):
    asked = visit(browser, gate)
    assert asked and all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    assert browser.execute_script("return window.pwned") is None
    assert browser.title == "Gate failed: 1 of 2 checks"
    # Names are there, as they are but for what no line can show; joiners stay.
    shown = {row[0].partition("|")[0] for row in rows(browser)}
    names = (*pages.HOSTILE, *pages.SCRIPTS)
    assert shown == {re.sub("[\n\u202e]", "�", name) for name in names}
    for css in ("td img", "td script", "th img", "th script", "td b", "header i", "h2 b"):
        assert browser.find_elements("css selector", css) == []
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []
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


def test_live_numbers_are_those_of_the_run(browser, page, run):
    visit(browser, page)
    counts = run.counts
    wanted = [run.report.recommendation.threshold, run.report.eer.threshold]
    wanted += np.quantile(counts.grid.thresholds, [0.1, 0.4, 0.8, 0.97]).tolist()
    for near in wanted:
        type_into(browser, "value", repr(near), "change")
        at = float(browser.execute_script("return document.getElementById('value').value"))
        told = text_of(browser, "doubt")
        assert told == (
            ""
            if at == near
            else f"The page has no counts at {near}; {at} is the nearest threshold that has."
        )
        rates = run.rates(at)
        for name, value in (("far", rates.far), ("frr", rates.frr)):
            box = browser.find_element("id", name)
            assert float(box.get_attribute("data-value")) == value
            assert box.text == rate(value)
        place = counts.grid.index_at(at)
        assert text_of(browser, "ia") == f"{counts.pooled_impostor[place]:,}"
        per_query = 2 * counts.pooled_impostor[place] / counts.rows
        assert float(text_of(browser, "query")) == pytest.approx(per_query, rel=5e-3)
        table = run.classes(threshold=at).set_index("class")
        for name, size, frr, far, utility, *_ in rows(browser)[:20]:
            one = table.loc[int(name.partition("|")[0])]
            assert size == f"{one['size']:,.0f}"
            assert utility == number(
                one["utility"] if one["utility"] == one["utility"] else None, 3
            )
            for shown, value, pairs in ((frr, "frr", "genuine"), (far, "far", "impostor")):
                if one[value] == one[value]:
                    errors = round(one[value] * one[f"{pairs}_pairs"])
                    kofn = f"{errors:,} of {one[f'{pairs}_pairs']:,.0f}"
                    assert shown == f"{rate(one[value])}|{kofn}"
        known = table.dropna(subset="far")
        met = (known["far"] <= 0.02) & (known["frr"] <= 0.6)
        assert text_of(browser, "within") == rate(met.mean())


def test_bounds_tell_what_is_admissible_and_what_each_costs(browser, page, run):
    visit(browser, page)
    low, high = run.report.recommendation.interval
    assert text_of(browser, "admissible") == f"Admissible: from {low} to {high}."
    for percent in (("0.1", "1"), ("0,5", "20"), ("3", "")):
        type_into(browser, "max-far", percent[0])
        type_into(browser, "max-frr", percent[1])
        max_far, max_frr = (
            float(text.replace(",", ".")) / 100 if text else None for text in percent
        )
        chosen = run.recommend(max_far=max_far, max_frr=max_frr)
        said = text_of(browser, "admissible")
        if chosen.threshold is None:
            for name, at, cost in (
                ("FAR", chosen.at_max_far, f"FRR {rate(chosen.at_max_far.frr)}"),
                ("FRR", chosen.at_max_frr, f"FAR {rate(chosen.at_max_frr.far)}"),
            ):
                bound = rate(max_far if name == "FAR" else max_frr)
                alone = f"{name} <= {bound} alone needs {at.threshold} and costs {cost}."
                assert alone in said
        else:
            low, high = chosen.interval
            begin = "up to" if max_frr is None else f"from {low} to"
            assert said == f"Admissible: {begin} {high}."


def test_the_keyboard_is_enough(browser, page, run):
    from selenium.webdriver.common.keys import Keys

    visit(browser, page)
    assert not browser.find_element("css selector", ".static img").is_displayed()
    slider = browser.find_element("id", "slider")
    before = int(slider.get_attribute("value"))
    slider.send_keys(Keys.ARROW_RIGHT)
    drawn(browser)
    assert int(slider.get_attribute("value")) == before + 1
    assert slider.get_attribute("aria-valuetext").startswith("cosine distance <= ")
    (eer,) = [
        one for one in browser.find_elements("css selector", "#presets button") if one.text == "EER"
    ]
    eer.send_keys(Keys.ENTER)
    drawn(browser)
    assert eer.get_attribute("aria-pressed") == "true"
    value = browser.find_element("id", "value").get_attribute("value")
    assert float(value) == run.report.eer.threshold
    pin = browser.find_element("css selector", "#classes .pin")
    name = pin.text
    pin.send_keys(Keys.ENTER)
    drawn(browser)
    focused = browser.switch_to.active_element
    assert focused.text == name and focused.get_attribute("aria-pressed") == "true"
    assert [one.text for one in browser.find_elements("css selector", "#pins button")] == [
        f"{name} ×"
    ]


def test_scales_show_the_same_threshold(browser, page, run):
    visit(browser, page)
    at = run.report.recommendation
    for place, shown in enumerate(
        (repr(at.threshold), repr(at.equivalents.cosine_similarity), rate(at.far))
    ):
        type_into(browser, "scale", str(place), "change")
        assert browser.find_element("id", "value").get_attribute("value") == shown
    # A FAR is typed in percent, and the nearest threshold that was counted is taken.
    type_into(browser, "value", "5 %", "change")
    far = float(browser.find_element("id", "far").get_attribute("data-value"))
    assert far == pytest.approx(0.05, rel=0.05)


def test_the_table_sorts_and_filters(browser, page, run):
    visit(browser, page)
    at = run.report.recommendation.threshold
    table = run.classes(threshold=at).set_index("class")
    few = (table["genuine_pairs"] < FEW_PAIRS) | (table["impostor_pairs"] < FEW_PAIRS)
    shown = rows(browser)
    assert {int(row[0].split("|")[0]) for row in shown if "too few" in row[0]} == set(
        table.index[few]
    )
    # The worst come first, those with too few pairs last, what has no utility at the very end.
    utility = table["utility"].to_dict()
    names = [int(row[0].split("|")[0]) for row in shown]
    told = [utility[name] for name in names if not few[name]]
    assert told == sorted(told) and not few[names[0]] and few[names[-1]]
    heads = {
        head.get_attribute("data-key"): head
        for head in browser.find_elements("css selector", "#classes th[data-key]")
    }
    browser.execute_script("document.getElementById('apart').click()")
    for way in ("ascending", "descending"):
        heads["name"].find_element("css selector", "button").click()
        drawn(browser)
        assert heads["name"].get_attribute("aria-sort") == way
        names = [int(row[0].split("|")[0]) for row in rows(browser)]
        assert names == sorted(table.index, reverse=way == "descending")
    type_into(browser, "frr-from", "50")
    assert {int(row[0].split("|")[0]) for row in rows(browser)} == set(
        table.index[table["frr"] >= 0.5]
    )
    type_into(browser, "search", "no such class")
    assert rows(browser) == [] and text_of(browser, "count").startswith("0 of 50 classes")
    browser.execute_script("document.getElementById('clear').click()")
    drawn(browser)
    assert text_of(browser, "count") == "50 of 50 classes"


def test_a_box_in_the_scatter_filters_the_table(browser, page):
    from selenium.webdriver import ActionChains

    visit(browser, page)
    scatter = browser.find_element("id", "scatter")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", scatter)
    wide, high = scatter.size["width"], scatter.size["height"]
    chain = ActionChains(browser, duration=0).move_to_element_with_offset(
        scatter, int(0.1 * wide) - wide // 2 + 20, -high // 2 + 16
    )
    chain.click_and_hold().move_by_offset(int(0.8 * wide), int(0.4 * high)).release().perform()
    drawn(browser)
    least = float(browser.find_element("id", "frr-from").get_attribute("value"))
    assert 20 < least < 80
    shown = [float(row[2].split(" %")[0]) for row in rows(browser)]
    assert shown and min(shown) >= least and len(shown) < 50


def test_the_file_of_the_table_is_safe_and_whole(browser, gate):
    visit(browser, gate)
    text = browser.execute_async_script(
        "const done = arguments[0];"
        "URL.createObjectURL = (blob) => { blob.text().then(done); return 'blob:x'; };"
        "document.getElementById('csv').click()"
    )
    lines = text.removeprefix("\ufeff").split("\r\n")
    assert lines[0].startswith('"class","rows","threshold"') and lines[-1] == ""
    assert len(lines) == 2 + len(pages.HOSTILE) + len(pages.SCRIPTS)
    # What starts like a formula is text.
    assert any(line.startswith('"\'+1 & a=b#c",') for line in lines)


def test_the_address_names_the_class_and_the_threshold(browser, gate):
    name = pages.SCRIPTS[-1]
    visit(browser, gate)
    for one in browser.find_elements("css selector", "#classes .pin"):
        if one.text == name:
            browser.execute_script("arguments[0].click()", one)
            break
    browser.find_element("id", "slider").send_keys("\ue010")  # the End key
    browser.execute_async_script(
        "const done = arguments[0];"
        "const look = () => location.hash.includes('t=') ? done() : requestAnimationFrame(look);"
        "look()"
    )
    address = browser.current_url
    assert "class=%2B1+%26+a%3Db%23c" in address and "t=" in address
    at = browser.find_element("id", "value").get_attribute("value")
    visit(browser, address)
    drawn(browser)
    assert browser.find_element("id", "value").get_attribute("value") == at
    assert browser.find_element("css selector", "#pins bdi").text == name


@pytest.mark.parametrize(
    ("which", "width", "scheme"), [("page", 1280, "light"), ("gate", 375, "dark")]
)
def test_nothing_is_serious_for_those_who_do_not_see(browser, which, width, scheme, request):
    spec = importlib.util.find_spec("axe_core_python")
    if spec is None:
        pytest.skip("needs pip install axe-core-python")
    axe = (Path(spec.submodule_search_locations[0]) / "axe.min.js").read_text(encoding="utf-8")
    visit(browser, request.getfixturevalue(which), width, scheme)
    browser.execute_script(axe)
    found = browser.execute_async_script("axe.run().then(arguments[0])")
    assert found["passes"]
    assert [one["id"] for one in found["violations"]] == []


@pytest.mark.parametrize("which", ["page", "gate"])
def test_it_fits_screens_and_paper(browser, which, request):
    colors = []
    for width, scheme in ((375, "light"), (1440, "dark")):
        visit(browser, request.getfixturevalue(which), width, scheme)
        # The page itself never scrolls sideways; wide tables do, in their boxes.
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        colors.append(
            browser.execute_script("return getComputedStyle(document.body).backgroundColor")
        )
    assert colors == ["rgb(255, 255, 255)", "rgb(20, 23, 26)"]
    # As wide as A4 within its margins: no table is wider than the paper.
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 688, "height": 1000, "deviceScaleFactor": 1, "mobile": False},
    )
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    wide = browser.execute_script(
        "return [...document.querySelectorAll('table')].map((table) => table.scrollWidth)"
    )
    assert max(wide) <= 688


def test_without_the_script_the_answer_stands(browser, page, run):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(page)
        (picture,) = browser.find_elements("css selector", ".static img")
        assert picture.is_displayed() and picture.size["width"] > 400
        # Nothing that needs the script is there to be tried in vain.
        live = browser.find_elements("css selector", ".live, input, button:not(th button)")
        assert len(live) > 20 and not [one for one in live if one.is_displayed()]
        body = browser.find_elements("css selector", "#classes tbody tr")
        assert len(body) == run.report.source.evaluable_classes and body[0].is_displayed()
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_five_thousand_classes(browser, tmp_path):
    run = pages.run_of(pages.made_counts(5_000, points=160))
    visit(browser, written(tmp_path, report_page(run)))
    assert text_of(browser, "count") == "5,000 of 5,000 classes, 100 shown"
    browser.execute_script("document.getElementById('more').click()")
    assert text_of(browser, "count") == "5,000 of 5,000 classes, 300 shown"
    type_into(browser, "search", "C123")
    assert len(rows(browser)) == 11
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_second_handle_leaves_pairs_to_review(browser, tmp_path):
    run = opis.evaluate(*data.MADE["long_tail"], max_far=0.001, max_frr=0.01, review=True)
    review = run.report.review
    visit(browser, written(tmp_path, report_page(run)))

    def shown(*names):
        return [browser.find_element("id", name).text for name in names]

    assert (
        f"refuse beyond {review.refuse_threshold}"
        in browser.find_element("css selector", "h1").text
    )
    assert shown("gv", "iv") == [f"{review.genuine_pairs:,}", f"{review.impostor_pairs:,}"]
    assert shown("far", "frr") == [rate(review.far), rate(review.frr)]
    assert shown("review", "searches") == [rate(review.pairs_share), rate(review.queries_share)]
    assert "both bounds hold" in shown("admissible")[0]
    # The first threshold takes the second one along.
    browser.find_element("id", "slider").send_keys("\ue010")  # the End key
    drawn(browser)
    assert shown("gv", "iv") == ["0", "0"]
    value = browser.find_element("id", "value").get_attribute("value")
    assert shown("upper-value") == [f"> {value}"]
    browser.find_element("id", "two").click()
    drawn(browser)
    assert not browser.find_element("id", "second").is_displayed()
    # On again: each bound alone says where to begin.
    browser.find_element("id", "two").click()
    drawn(browser)
    assert shown("gv", "iv") == [f"{review.genuine_pairs:,}", f"{review.impostor_pairs:,}"]
