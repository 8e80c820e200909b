"""The page in a real browser that can reach nothing."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from offramp.data import Task
from offramp.report import write_report

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--window-size=1200,1000",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)

pytestmark = pytest.mark.skipif(
    not (CHROMIUM.exists() and DRIVER.exists()), reason="chromium or chromium-driver (Debian packages) is not installed"
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(str(DRIVER)))
    yield made
    made.quit()


@pytest.fixture(scope="module")
def report(run: Path, digits: Task, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(shutil.copytree(run, tmp_path_factory.mktemp("browser") / "run"), digits).as_uri()


@pytest.fixture
def page(browser: Any, report: str) -> Any:
    browser.get(report)
    until(lambda: browser.find_elements("css selector", "#front-plot .scatterlayer .trace"))
    return browser


def until(condition: Callable[[], Any], seconds: float = 20) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "the page did not get there in time"
        time.sleep(0.05)
    return found


def text(page: Any, selector: str) -> str:
    return str(page.find_element("css selector", selector).text)


def test_it_loads_without_a_word_and_without_a_request(page: Any) -> None:
    assert page.get_log("browser") == []
    loaded = page.execute_script("return performance.getEntriesByType('resource').map((e) => e.name)")
    assert [name for name in loaded if not name.startswith(("data:", "blob:"))] == []
    assert "best:" in text(page, "h1")


def test_both_figures_are_drawn(page: Any) -> None:
    assert page.find_elements("css selector", "#front-plot .scatterlayer path.point")
    assert page.find_elements("css selector", "#network-0 .curve-plot .scatterlayer path.js-line")
    assert "Random search: front" in text(page, "#front-legend")


def test_one_network_is_drawn_beside_those_found_one_by_one_on_each_split(page: Any) -> None:
    names = {
        split: page.execute_script(f"return document.getElementById('budgets-{split}').data.map((t) => t.name)")
        for split in ("select", "test")
    }
    assert names["select"] == ["Search: front", "best: all exit subsets", "tiny: all exit subsets"]
    assert names["test"] == ["Delivered", "Static beside", "best: all exit subsets", "tiny: all exit subsets"]
    for split in names:
        assert page.find_elements("css selector", f"#budgets-{split} .scatterlayer path.js-line")
        assert "best: all exit subsets" in text(page, f"#budgets-{split}-legend")
    curve = page.execute_script(
        "return JSON.parse(document.getElementById('data').textContent).budgets.curves[0].points"
    )
    drawn = page.execute_script("return document.getElementById('budgets-test').data[2].y")
    assert sorted(drawn) == sorted(point["test"]["accuracy"] for point in curve)


def test_clicking_a_point_shows_its_network(page: Any) -> None:
    from selenium.webdriver import ActionChains

    before = text(page, "#front-panel")
    place = page.execute_script(
        """
        const plot = document.getElementById("front-plot");
        plot.scrollIntoView({block: "center"});
        const trace = plot.data.find((t) => t.name === "Search: front"), layout = plot._fullLayout;
        const at = plot.querySelector(".nsewdrag").getBoundingClientRect();
        return [at.x + layout.xaxis.d2p(trace.x[1]), at.y + layout.yaxis.d2p(trace.y[1]), trace.y[1]];
        """
    )
    x, y, accuracy = place
    actions = ActionChains(page)
    actions.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    actions.pause(0.3).click().perform()
    until(lambda: text(page, "#front-panel") != before)
    assert f"{100 * accuracy:.2f}" in text(page, "#front-panel")
    assert "Stage 0" in text(page, "#front-panel")
    assert page.get_log("browser") == []


def test_the_buttons_walk_along_the_front(page: Any) -> None:
    seen = set()
    for _ in range(3):
        page.find_element("id", "front-after").click()
        seen.add(text(page, "#front-panel h3"))
    assert len(seen) == 3


def test_the_axis_can_be_chosen(page: Any) -> None:
    from selenium.webdriver.support.ui import Select

    Select(page.find_element("id", "front-axis")).select_by_value("params")
    until(lambda: "parameters" in text(page, "#front-plot .xtitle"))


def test_the_slider_moves_the_figures(page: Any) -> None:
    from selenium.webdriver.common.keys import Keys

    slider = page.find_element("id", "budget-0")
    shown = ["#network-0 ." + name for name in ("test-accuracy", "budget-thresholds", "budget-bars", "budget-value")]
    before = [text(page, selector) for selector in shown]
    slider.send_keys(Keys.HOME)
    after = [text(page, selector) for selector in shown]
    assert all(a != b for a, b in zip(after, before))
    point = page.execute_script("return JSON.parse(document.getElementById('data').textContent).curves[0].points[0]")
    assert f"{100 * point['test']['accuracy']:.2f}" in after[0]
    assert len(page.find_elements("css selector", "#network-0 .budget-bars .bar")) == len(point["utilisation"])


def test_the_slider_starts_at_the_delivered_network(page: Any) -> None:
    curve = page.execute_script("return JSON.parse(document.getElementById('data').textContent).curves[0]")
    assert f"{100 * curve['delivered']['accuracy']:.2f}" in text(page, "#network-0 .test-accuracy")


def test_thresholds_can_be_copied_as_python(page: Any) -> None:
    values = eval(text(page, "#network-0 .budget-thresholds"), {"float": float})
    curve = page.execute_script("return JSON.parse(document.getElementById('data').textContent).curves[0]")
    assert len(values) == len(curve["points"][0]["thresholds"])
    page.find_element("css selector", "#network-0 .budget-copy").click()
    until(lambda: text(page, "#network-0 .budget-copy") in ("Copied", "Select and copy"))


def test_tabs_show_one_network_at_a_time(page: Any) -> None:
    visible = "return [...document.querySelectorAll('.network')].map((e) => e.offsetHeight > 0)"
    assert page.execute_script(visible) == [True, False]
    page.find_element("id", "tab-1").click()
    assert page.execute_script(visible) == [False, True]
    plot = "return document.querySelector('#network-1 .curve-plot .main-svg').getBoundingClientRect().width"
    until(lambda: page.execute_script(plot) > 400)


def test_the_curve_over_et_is_drawn_beside_that_over_macs(browser: Any, device_run: Path, tmp_path: Path) -> None:
    page = browser
    page.get(write_report(shutil.copytree(device_run, tmp_path / "run"), None).as_uri())
    until(lambda: page.find_elements("css selector", "#device-curve-0 .curve-plot .scatterlayer path.js-line"))
    read = "return JSON.parse(document.getElementById('data').textContent)"
    curve = page.execute_script(f"{read}.device_curves[0]")
    stored = json.loads((device_run / "chosen/frugal/device_curve.json").read_text())["points"]
    drawn = page.execute_script("return document.querySelector('#device-curve-0 .curve-plot').data")
    assert sorted([p["test"]["et_avg"] for p in stored] + [curve["delivered"]["et_avg"]]) == sorted(drawn[1]["x"])
    assert "energy x latency" in text(page, "#device-curve-0 .xtitle")
    assert "MACs" in text(page, "#curve-0 .xtitle")
    assert curve["last"]["et_avg"] == pytest.approx(curve["statics"][0]["et_avg"])
    before = text(page, "#curve-0 .budget-value")
    page.execute_script(
        "const s = document.getElementById('device-budget-0'); s.value = s.max; s.dispatchEvent(new Event('input'))"
    )
    largest = curve["points"][-1]
    assert text(page, "#device-curve-0 .test-macs") == f"{largest['test']['et_avg']:.3g}"
    assert text(page, "#curve-0 .budget-value") == before
    assert page.get_log("browser") == []
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.parametrize("width", [400, 1200])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_sticks_out_sideways(page: Any, width: int, scheme: str) -> None:
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.refresh()
    until(lambda: page.find_elements("css selector", "#front-plot .scatterlayer .trace"))
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    style = "return getComputedStyle(document.body)."
    below = (
        "const [plot, note] = ['.plotly', 'figcaption'].map((s) => document.querySelector(s).getBoundingClientRect());"
    )
    assert page.execute_script(below + "return plot.bottom <= note.top")
    ink, ground = (page.execute_script(style + name) for name in ("color", "backgroundColor"))
    assert (sum(colour(ink)) > sum(colour(ground))) == (scheme == "dark")
    axis = page.find_element("css selector", "#front-plot .xtick text").value_of_css_property("fill")
    assert colour(axis) == colour(ink)
    assert page.get_log("browser") == []
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def colour(css: str) -> list[int]:
    return [int(part) for part in css[css.index("(") + 1 : -1].split(",")[:3]]


def test_a_browser_that_cannot_draw_says_so_and_shows_the_rest(browser: Any, report: str, tmp_path: Path) -> None:
    from urllib.parse import unquote, urlparse

    old = tmp_path / "old.html"
    page = Path(unquote(urlparse(report).path)).read_text()
    old.write_text(page.replace("<body>", "<body><script>delete window.DecompressionStream</script>", 1))
    browser.get(old.as_uri())
    until(lambda: "The figures cannot be drawn here" in text(browser, "header"))
    until(lambda: browser.find_elements("css selector", "[role=tab][aria-selected=true]"))
    assert browser.find_element("css selector", "#network-0").is_displayed()
    assert not browser.find_element("css selector", "#network-1").is_displayed()
    assert "best" in text(browser, "h1")
