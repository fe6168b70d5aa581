"""The page in a real Chromium: nothing fails, nothing is fetched, nothing runs over the edge, both schemes, the button.

Needs chromium and its driver (Debian: chromium, chromium-driver) and is skipped where they are not.
"""

import json
import re
import shutil
import time
from pathlib import Path

import pytest

from popstream.boards.bench.published import PUBLISHED
from popstream.model.manifest import ZOO, Network, load
from popstream.sim.reports.page.page import write_report
from tests.sim.reports.page.figures import write_figures

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
SKIPPED = "no Chromium with its driver (Debian: chromium, chromium-driver), so the page is not opened in one"
pytestmark = pytest.mark.skipif(BROWSER is None or DRIVER is None, reason=SKIPPED)

PHONE, DESK = 390, 1280
LEAST_CONTRAST = 4.5  # WCAG AA, of text
CONTRAST = """
const channel = c => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = color => { const [r, g, b] = color.match(/[\\d.]+/g).map(Number);
  return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
const behind = e => { for (; e; e = e.parentElement) { const b = getComputedStyle(e).backgroundColor;
  if (!/, 0\\)$|transparent/.test(b)) return b; } };
const seen = {};
for (const e of document.querySelectorAll("main *, header *")) {
  if (![...e.childNodes].some(n => n.nodeType == 3 && n.data.trim()) || e.closest("svg, script")) continue;
  const [a, b] = [light(getComputedStyle(e).color), light(behind(e))];
  seen[`${e.tagName}.${e.className}`] = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}
return seen;
"""


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> list[Path]:
    """digits-w1a2 with all figures and with a class that would be a script; resnet20-w1a2 with none."""
    root = tmp_path_factory.mktemp("pages")
    given = load(ZOO / "digits-w1a2")
    classes = ["<script>window.intruder = 1</script>", *given.classes[1:]]
    digits = Network.build(given.name, given.data, classes, given.nodes, given.accuracy, given.training)
    write_figures(digits, root)
    whole = load(ZOO / "resnet20-w1a2")  # of a data set that is not known, so that no test downloads one
    resnet = Network.build(whole.name, "another", whole.classes, whole.nodes, whole.accuracy, whole.training)
    return [write_report(network, root, designs=PUBLISHED)[1].resolve() for network in (digits, resnet)]


@pytest.fixture(scope="module")
def driver():
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    yield found
    found.quit()


def look(driver, page: Path, width: int, scheme: str = "light") -> None:
    """Open the page in a window of this width, for a system of this colour scheme, as if for the first time."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == PHONE}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    media = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": media})
    driver.get(page.as_uri())
    driver.execute_script("localStorage.clear()")
    driver.refresh()


def paper(driver) -> int:
    """How light the page's ground is, 0 to 255."""
    color = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    return max(int(part) for part in re.findall(r"\d+", color)[:3])


def dark(driver, seconds: float = 10.0) -> bool:
    """Whether the page becomes dark within these seconds: on a busy machine it takes a while to be drawn anew."""
    ends = time.monotonic() + seconds
    while paper(driver) >= 60 and time.monotonic() < ends:
        time.sleep(0.1)
    return paper(driver) < 60


def test_nothing_fails_and_nothing_is_fetched(driver, pages):
    for log in ("browser", "performance"):
        driver.get_log(log)
    for page in pages:
        look(driver, page, DESK)
        driver.find_element("css selector", ".toggle").click()
        assert driver.get_log("browser") == []
        events = [json.loads(entry["message"])["message"] for entry in driver.get_log("performance")]
        asked = [
            event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"
        ]
        assert {url for url in asked if not url.startswith("data:")} == {page.as_uri()}
        assert driver.execute_script("return window.intruder") is None
        broken = "return [...document.images].filter(image => !image.naturalWidth).length"
        assert driver.execute_script(broken) == 0


@pytest.mark.parametrize("width", [PHONE, DESK])
def test_nothing_runs_over_the_edge(driver, pages, width):
    for page in pages:
        look(driver, page, width)
        assert driver.execute_script("return document.documentElement.scrollWidth") == width
        shown = driver.execute_script("return [...document.querySelectorAll('svg.diagram')].map(e => e.clientWidth)")
        assert sum(drawn > 0 for drawn in shown) == 1  # of the wide and the tall diagram the one that fits
        wide = [
            table for table in driver.find_elements("css selector", ".scroll")
            if table.get_property("scrollWidth") > table.get_property("clientWidth")
        ]  # fmt: skip
        assert bool(wide) == (width == PHONE)
        for table in wide:
            driver.execute_script("arguments[0].scrollLeft = 9999", table)
            assert table.get_property("scrollLeft") > 0
        assert driver.execute_script("return document.documentElement.scrollWidth") == width


def test_both_schemes_apply_and_the_button_changes_them(driver, pages):
    look(driver, pages[0], DESK, "light")
    button = driver.find_element("css selector", ".toggle")
    assert (paper(driver) > 200, button.text) == (True, "Dark")
    button.click()
    assert (dark(driver), button.text) == (True, "Light")
    time.sleep(0.5)  # storage is written behind the page's back
    driver.refresh()
    assert dark(driver)  # what was chosen is kept
    driver.find_element("css selector", ".toggle").click()
    assert paper(driver) > 200
    look(driver, pages[0], DESK, "dark")
    button = driver.find_element("css selector", ".toggle")
    assert dark(driver)
    assert button.get_attribute("aria-label") == "Use light colours"
    button.click()
    assert paper(driver) > 200
    button.click()
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": []})
    ink = driver.execute_script("return getComputedStyle(document.body).color")
    assert (paper(driver), max(map(int, re.findall(r"\d+", ink))) < 80) == (255, True)  # dark is not for paper
    assert driver.execute_script("return getComputedStyle(document.querySelector('.bar-top')).display") == "none"
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(driver, pages, scheme):
    for page in pages:
        look(driver, page, DESK, scheme)
        found = driver.execute_script(CONTRAST)
        assert len(found) > 20
        assert {name: round(ratio, 2) for name, ratio in found.items() if ratio < LEAST_CONTRAST} == {}


def test_the_parts_of_the_critical_path_unfold(driver, pages):
    look(driver, pages[0], PHONE)
    details = driver.find_element("css selector", "#clock details")
    assert not details.find_element("css selector", "table").is_displayed()
    driver.execute_script("arguments[0].open = true", details)
    assert len(details.find_elements("css selector", "tbody tr")) == 4
    assert driver.execute_script("return document.documentElement.scrollWidth") == PHONE
