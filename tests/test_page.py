"""The page in headless Chromium: it draws, it turns, it asks nothing of the network, hostile names stay names."""

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from crvae3d.datasets.archives import write_archive
from crvae3d.datasets.shapes import clouds
from crvae3d.errors import InputError
from crvae3d.experiment.evaluate import evaluate_runs
from crvae3d.experiment.runs import train
from crvae3d.experiment.settings import Settings
from crvae3d.viewers.page import write_page
from crvae3d.viewers.report import CodeMap, Gallery, ModelReport, Report

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-dev-shm-usage --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-extensions --hide-scrollbars --remote-debugging-pipe"
)
# Chromium reads commands from descriptor 3 and answers on 4
HAND_OVER = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.dup2(int(sys.argv[2]), 4)
os.execv(sys.argv[3], sys.argv[3:])
"""


class Chromium:
    """A headless Chromium driven over its DevTools pipe: real mouse events, no driver, no package."""

    def __init__(self, profile: Path):
        ends = os.pipe(), os.pipe()
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (ends[0][0], ends[1][1])]
        self._commands, self._answers = ends[0][1], ends[1][0]
        command = [sys.executable, "-S", "-c", HAND_OVER, *map(str, theirs), BROWSER, *QUIET.split()]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command += [f"--user-data-dir={profile}", "about:blank"]
        self._process = subprocess.Popen(command, pass_fds=theirs, **quiet)
        for end in (*theirs, ends[0][0], ends[1][1]):
            os.close(end)
        self._rest, self._count, self._session, self.events = b"", 0, None, []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters) -> dict:
        self._count += 1
        message = {"id": self._count, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._count:
                assert "error" not in answer, answer
                return answer["result"]
            self.events.append(answer)

    def _receive(self) -> dict:
        while b"\0" not in self._rest:
            assert select.select([self._answers], [], [], 60)[0], "Chromium has said nothing for a minute"
            part = os.read(self._answers, 1 << 20)
            assert part, "Chromium has gone"
            self._rest += part
        line, _, self._rest = self._rest.partition(b"\0")
        return json.loads(line)

    def run(self, script: str):
        """The value of a script in the page; promises are awaited."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def open(self, path: Path, width: int = 1200, height: int = 900, dark: bool = False, phone: bool = False) -> None:
        self.events.clear()
        self.send("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        media = {"prefers-color-scheme": "dark" if dark else "light", "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in media.items()]
        self.send("Emulation.setEmulatedMedia", features=features)
        self.send("Page.navigate", url=path.resolve().as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._receive())
        assert self.run("document.documentElement.dataset.ready") == "true", self.problems()
        self.settle()

    def wait(self, condition: str) -> None:
        self.run(f"new Promise(done => {{ const ask = () => {condition} ? done() : setTimeout(ask, 20); ask(); }})")

    def settle(self) -> None:
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def click(self, x: float, y: float) -> None:
        self.send("Input.dispatchMouseEvent", type="mouseMoved", x=x - 2, y=y)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)
        self.settle()

    def drag(self, selector: str, right: int, down: int) -> None:
        x, y = self.middle(selector)
        steps = (("mousePressed", 0), ("mouseMoved", 0.5), ("mouseMoved", 1), ("mouseReleased", 1))
        for kind, part in steps:
            at = {"x": x + part * right, "y": y + part * down}
            self.send("Input.dispatchMouseEvent", type=kind, **at, button="left", buttons=1, clickCount=1)
        self.settle()

    def middle(self, selector: str) -> tuple[float, float]:
        """Scroll to an element; where its middle then is."""
        found = f"document.querySelector({json.dumps(selector)})"
        box = self.run(f"{found}.scrollIntoView({{block: 'center'}}), {found}.getBoundingClientRect().toJSON()")
        return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def problems(self) -> list[str]:
        """Everything that the console would show as an error or a warning."""
        found = []
        for method, told in ((event["method"], event["params"]) for event in self.events):
            if method == "Runtime.exceptionThrown":
                found.append(told["exceptionDetails"]["exception"]["description"])
            elif method == "Log.entryAdded":
                found.append(told["entry"]["text"])
            elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning"):
                found.append(str(told["args"]))
        return found

    def requests(self) -> list[str]:
        """Addresses that the page asked for, other than itself and data inside it."""
        asked = [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]
        return [url for url in asked if not url.startswith(("data:", "blob:"))]

    def screenshot(self, path: Path, full: bool = False) -> None:
        picture = self.send("Page.captureScreenshot", captureBeyondViewport=full)["data"]
        path.write_bytes(base64.b64decode(picture))

    def close(self) -> None:
        self.send("Browser.close")
        self._process.wait(20)
        os.close(self._commands)
        os.close(self._answers)


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if BROWSER is None:
        pytest.skip("no Chromium or Chrome on the PATH: the page cannot be looked at")
    browser = Chromium(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


def report(names=("VAE", "CR-VAE"), ids=None, classes=("ball", "box", "ball"), **changes) -> Report:
    """Three shapes, five codes of which the first three are those shapes, two quantities of curves."""
    draw = np.random.default_rng(0)
    ids = ids or ["shape 0", "shape 1", "shape 2"]
    clouds = draw.normal(size=(3, 300, 3))
    clouds = (clouds / np.linalg.norm(clouds, axis=2, keepdims=True)).astype(np.float32) * [0.9, 0.5, 0.3]
    mapped = CodeMap(draw.normal(size=(5, 2)), [*ids, "far", "away"], [*classes, "box", "box"] if classes else ())
    curves = {
        f"{split}/{name}": ([0, 1, 2], [3.0, float("nan"), 1.0])
        for split in ("train", "validation")
        for name in ("loss", "rate")
    }
    models = tuple(ModelReport(name, {"chamfer": 0.004 + i / 1000}, curves, mapped) for i, name in enumerate(names))
    gallery = Gallery(ids, clouds, {name: clouds[:, :200] for name in names}, classes)
    fields = {"title": "A page", "summary": "One.\n\nTwo.", "models": models, "gallery": gallery} | changes
    return Report(**fields)


def pictures(chromium: Chromium) -> list[str]:
    return chromium.run("[...document.querySelectorAll('#panels canvas')].map(canvas => canvas.toDataURL())")


def test_the_browser_reports_errors_and_requests(chromium, tmp_path):
    bad = tmp_path / "bad.html"
    bad.write_text("<html data-ready=true><img src='http://127.0.0.1:9/x.png'><script>oops()</script>")
    chromium.open(bad)
    assert any("oops" in problem for problem in chromium.problems())
    assert "http://127.0.0.1:9/x.png" in chromium.requests()


def test_the_page_of_a_real_comparison_draws_without_errors_or_requests(chromium, tmp_path):
    for split in ("train", "test"):
        write_archive(tmp_path / f"some_{split}.npz", clouds(split, 4, points=300, progress=False))
    run = tmp_path / "cr"
    train(Settings.of(tmp_path / "some.npz", preset="tiny", epochs=2), run, progress=False)
    evaluate_runs([run], page=tmp_path / "page.html", progress=False)
    chromium.open(tmp_path / "page.html")
    assert chromium.problems() == [] and chromium.requests() == [(tmp_path / "page.html").as_uri()]
    assert chromium.run("document.querySelectorAll('#shapes option').length") == 64  # every test shape
    assert len(set(pictures(chromium))) == 2


@pytest.mark.parametrize(
    "view", [{}, {"width": 390, "height": 844, "phone": True, "dark": True}], ids=["desk", "phone"]
)
def test_page_draws_without_errors_or_requests(chromium, tmp_path, view):
    path = write_page(tmp_path / "new" / "page.html", report())
    chromium.open(path, **view)
    assert chromium.problems() == []
    assert chromium.requests() == [path.as_uri()]
    inked = chromium.run(
        "[...document.querySelectorAll('#panels canvas, #strip canvas')].map(canvas => canvas.getContext('2d')"
        ".getImageData(0, 0, canvas.width, canvas.height).data.filter((value, i) => i % 4 == 3 && value > 0).length"
        "/ (canvas.width * canvas.height))"
    )
    assert len(inked) == 3 + 3 and all(0.05 < part < 0.9 for part in inked)
    assert chromium.run("document.querySelectorAll('#maps .points path').length") == 2 * 5
    assert (
        chromium.run("document.querySelectorAll('#plots path.js-line').length") == 2 * 2 * 2 * 2
    )  # a gap in each line
    assert chromium.run("document.documentElement.scrollWidth") == view.get("width", 1200)
    paper = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") == (not view.get("dark", False))


def test_more_models_than_colours_are_all_drawn(chromium, tmp_path):
    chromium.open(write_page(tmp_path / "page.html", report([f"model {number}" for number in range(8)])))
    assert chromium.problems() == []
    drawn = [picture for picture in pictures(chromium) if len(picture) > 2000]
    assert len(drawn) == 9
    colours = chromium.run("[...document.querySelectorAll('.swatch')].map(i => getComputedStyle(i).backgroundColor)")
    assert "rgba(0, 0, 0, 0)" not in colours


def test_dragging_one_panel_turns_all_and_a_double_click_turns_them_back(chromium, tmp_path):
    chromium.open(write_page(tmp_path / "page.html", report()))
    before = pictures(chromium)
    chromium.drag("#panels figure:nth-child(2) canvas", 60, 25)
    turned = pictures(chromium)
    assert len(before) == 3 and all(old != new for old, new in zip(before, turned, strict=True))
    chromium.run("document.querySelector('#panels canvas').dispatchEvent(new MouseEvent('dblclick'))")
    chromium.settle()
    assert pictures(chromium) == before


def test_next_previous_and_a_click_on_the_map_choose_the_shape(chromium, tmp_path):
    chromium.open(write_page(tmp_path / "page.html", report()))
    first = pictures(chromium)
    chosen = "document.getElementById('shapes').selectedOptions[0].textContent"
    chromium.click(*chromium.middle("#next"))
    assert chromium.run(chosen) == "shape 1"
    assert all(old != new for old, new in zip(first, pictures(chromium), strict=True))
    chromium.click(*chromium.middle("#previous"))
    chromium.click(*chromium.middle("#previous"))
    assert chromium.run(chosen) == "shape 2"
    note = "at => { window.clicked = at.points[0].pointNumber + 1; }"
    chromium.run(f"document.querySelector('#maps .plot').on('plotly_click', {note}) && 0")
    for path, now in {3: "shape 0", 1: "shape 0", 4: "shape 1"}.items():  # drawn: far, away, shape 0, shape 1, shape 2
        time.sleep(0.4)  # two clicks in less than that are a double click
        chromium.click(*chromium.middle(f"#maps .points path:nth-child({path})"))
        chromium.wait(f"window.clicked == {path}")
        assert chromium.run(chosen) == now
    assert chromium.problems() == []


HOSTILE = (
    "</script><script>window.broken=1</script>",
    "<img src=x onerror=window.broken=1> <!--<script> {{data}} %{x} \u2028",
    "\"' onmouseover=window.broken=1 style='x' <a href='javascript:window.broken=1'>&lt;b",
)


def test_hostile_names_stay_names(chromium, tmp_path):
    bad = HOSTILE[0]
    hostile = report(
        names=HOSTILE[:2],
        ids=list(HOSTILE),
        classes=HOSTILE,
        title=bad,
        summary=bad,
        alarms=HOSTILE,
        notes=HOSTILE,
        settings=dict.fromkeys(HOSTILE, bad),
        controls={bad: {bad: 1.0}},
    )
    chromium.open(write_page(tmp_path / "page.html", hostile))
    chromium.click(*chromium.middle("#maps .points path:nth-child(3)"))
    x, y = chromium.middle("#maps .points path:nth-child(5)")
    chromium.send("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
    chromium.wait("document.querySelector('.hovertext')")
    assert HOSTILE[2] in chromium.run("document.querySelector('.hovertext').textContent")
    assert chromium.run("window.broken") is None
    assert chromium.run("document.querySelectorAll('img, a, [onmouseover], [onerror]').length") == 0
    assert chromium.problems() == [] and len(chromium.requests()) == 1
    assert chromium.run("document.title") == chromium.run("document.querySelector('h1').textContent") == bad
    texts = "[...document.querySelectorAll('{}')].map(e => e.textContent)"
    assert chromium.run(texts.format("option")) == list(HOSTILE)
    assert chromium.run(texts.format(".alarms li")) == list(HOSTILE)
    assert chromium.run(texts.format("dt")) == list(HOSTILE)
    assert sorted(chromium.run(texts.format("#classes button"))) == sorted({*HOSTILE, "box"})
    assert chromium.run(texts.format("#maps h3")) == [text + " " for text in HOSTILE[:2]]


def test_a_bare_report_has_a_table_and_no_empty_sections(chromium, tmp_path):
    bare = Report("Bare", "", [ModelReport("only", {"chamfer": 0.00456})])
    chromium.open(write_page(tmp_path / "bare.html", bare))
    assert chromium.problems() == []
    shown = "[...document.querySelectorAll('section')].filter(e => !e.hidden).map(e => e.id)"
    assert chromium.run(shown) == ["comparison"]
    assert chromium.run("document.querySelector('td').textContent") == "4.56"


def test_without_labels_there_are_no_classes(chromium, tmp_path):
    chromium.open(write_page(tmp_path / "page.html", report(names=("a", "b", "c", "d", "e"), classes=())))
    assert chromium.problems() == []
    assert chromium.run("document.querySelectorAll('#classes button, optgroup').length") == 0
    assert chromium.run("document.querySelectorAll('#panels canvas').length") == 6
    assert chromium.run("document.querySelectorAll('#maps .points path').length") == 5 * 5


def test_names_of_files_need_not_be_text(tmp_path):
    page = write_page(tmp_path / "page.html", report(names=("caf\udce9", "ids")))
    assert "caf?" in page.read_text(encoding="utf-8")


def test_a_path_that_cannot_be_written_is_one_clear_sentence(tmp_path):
    with pytest.raises(InputError, match="cannot write the page .* name a file"):
        write_page(tmp_path, report())
