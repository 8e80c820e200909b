"""Exported files in a browser: `python benchmarks/in_browser.py runs/RUN/chosen/NAME ... --ort DIR --out NAME`.

A page in headless Chromium runs every `model.onnx` by onnxruntime-web (WebAssembly, one thread) on images of the run's
test split, with the thresholds of its policy, and with those that force every exit. Tells on how many images class and
exit are those of ONNX Runtime on this machine, the largest difference of a logit, and the milliseconds of an image that
leaves at each exit, in the browser and here, in turns.

    npm install onnxruntime-web
    python benchmarks/in_browser.py runs/x/chosen/2.44M --ort node_modules/onnxruntime-web/dist --out in-browser

Needs selenium, Chromium and its driver. Writes benchmarks/results/NAME.json.
"""

from __future__ import annotations

import argparse
import json
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from shutil import copy, copytree, which
from statistics import median
from tempfile import TemporaryDirectory
from threading import Thread
from time import perf_counter
from typing import Any

import numpy as np

from offramp.export import Model
from offramp.export._session import forced
from offramp.pipeline import Run
from offramp.policy import Policy
from offramp.run_folder import read_json, write_json
from record import RESULTS, hardware, record

ROUNDS, PER_ROUND = 9, 50
PAGE = """<!doctype html><script src="ort/ort.wasm.min.js"></script><script>
ort.env.wasm.numThreads = 1;
let session, shape;
async function begin(file, wanted) {
  shape = wanted;
  session = await ort.InferenceSession.create(file, {executionProviders: ["wasm"], graphOptimizationLevel: "all"});
}
async function one(pixels, thresholds) {
  const feeds = {image: new ort.Tensor("float32", Float32Array.from(pixels), shape)};
  const exits = thresholds.length;  // but the last
  if (exits) feeds.thresholds = new ort.Tensor("float32", Float32Array.from(thresholds), [exits]);
  const {logits, exit} = await session.run(feeds);
  return [Array.from(logits.data), Number(exit.data[0])];
}
async function timed(pixels, thresholds, times) {
  const start = performance.now();
  for (let i = 0; i < times; i++) await one(pixels, thresholds);
  return (performance.now() - start) / times;
}
</script>"""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class Browser:
    """Chromium on a page that can run a file; a context manager."""

    def __init__(self, ort: Path, files: dict[str, Path]) -> None:
        self._folder = TemporaryDirectory()
        root = Path(self._folder.name)
        copytree(ort, root / "ort")
        (root / "page.html").write_text(PAGE, encoding="utf-8")
        for name, file in files.items():
            copy(file, root / f"{name}.onnx")
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=root))

    def __enter__(self) -> Browser:
        from selenium.webdriver import Chrome, ChromeOptions
        from selenium.webdriver.chrome.service import Service

        Thread(target=self._server.serve_forever, daemon=True).start()
        options = ChromeOptions()
        for option in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
            options.add_argument(option)
        self._driver = Chrome(options=options, service=Service(which("chromedriver")))
        self._driver.set_script_timeout(600)
        self._driver.get(f"http://127.0.0.1:{self._server.server_port}/page.html")
        self.version = f"Chromium {self._driver.capabilities['browserVersion']}"
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.quit()
        self._server.shutdown()
        self._folder.cleanup()

    def call(self, function: str, *arguments: Any) -> Any:
        """What an asynchronous function of the page gives; its error, where it fails."""
        script = (
            f"const done = arguments[arguments.length - 1], given = Array.from(arguments).slice(0, -1);"
            f"{function}(...given).then(found => done([found, null]), error => done([null, String(error)]));"
        )
        found, error = self._driver.execute_async_script(script, *arguments)
        if error is not None:
            raise RuntimeError(f"in the browser, {function}: {error}")
        return found


def measured(browser: Browser, name: str, folder: Path, images: np.ndarray) -> dict[str, Any]:
    """The row of one network."""
    model, policy = Model(folder / "model.onnx"), Policy.from_json((folder / "policy.json").read_text(encoding="utf-8"))
    exits = len(policy.thresholds) + 1
    browser.call("begin", f"{name}.onnx", [1, *images.shape[1:]])
    here, there = [], []
    for image in images:
        here.append(model.run(image))
        there.append(browser.call("one", image.ravel().tolist(), list(policy.thresholds)))
    gaps = [np.abs(a[0] - np.array(b[0])).max() for a, b in zip(here, there) if a[1] == b[1]]
    ways, pixels = [forced(e, exits) for e in range(exits)], images[0].ravel().tolist()
    for way in ways:  # warm
        assert browser.call("one", pixels, _finite(way))[1] == model.run(images[0], way)[1]
    times: dict[str, list[list[float]]] = {"browser": [[] for _ in ways], "here": [[] for _ in ways]}
    for _ in range(ROUNDS):
        for e, way in enumerate(ways):
            times["browser"][e].append(browser.call("timed", pixels, _finite(way), PER_ROUND))
            begin = perf_counter()
            for _ in range(PER_ROUND):
                model.run(images[0], way)
            times["here"][e].append((perf_counter() - begin) / PER_ROUND * 1000)
    metrics = read_json(folder / "metrics.json")
    return {
        "name": f"{folder.parent.parent.name} {folder.name}",
        "seed": metrics["seed"],
        "split": "test",
        "n": len(images),
        "same_class": float(np.mean([a[0].argmax() == np.argmax(b[0]) for a, b in zip(here, there)])),
        "same_exit": float(np.mean([a[1] == b[1] for a, b in zip(here, there)])),
        "largest_difference": float(max(gaps)),
        "exit_macs": [e["macs"] for e in metrics["exits"]],
        "utilisation": metrics["utilisation"],
        "browser_exit_ms": [round(median(t), 3) for t in times["browser"]],
        "here_exit_ms": [round(median(t), 3) for t in times["here"]],
    }


def _finite(thresholds: Any) -> list[float]:
    """JSON has no infinity; beyond every score is as good."""
    return [float(np.clip(t, -1e30, 1e30)) for t in thresholds]


def main() -> None:
    """Measure, write the file, print a summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="+", type=Path, metavar="DIR/chosen/NAME")
    parser.add_argument("--ort", type=Path, required=True, help="dist folder of onnxruntime-web")
    parser.add_argument("--images", type=int, default=200, help="of test")
    parser.add_argument("--out", default="in-browser", help="writes benchmarks/results/NAME.json")
    given = parser.parse_args()
    folders = {f"network{i}": folder.resolve() for i, folder in enumerate(given.networks)}
    version = json.loads((given.ort.parent / "package.json").read_text(encoding="utf-8"))["version"]
    rows = []
    with Browser(given.ort, {name: folder / "model.onnx" for name, folder in folders.items()}) as browser:
        for name, folder in folders.items():
            run = Run.stored(folder.parents[1])
            rows.append(measured(browser, name, folder, run.task.test.images[: given.images].numpy()))
            told = rows[-1]
            agree = f"class {told['same_class']:.2%}, exit {told['same_exit']:.2%}"
            print(f"{told['name']}: {agree}, logits within {told['largest_difference']:.2g}")
            print(f"  ms by exit {told['browser_exit_ms']}, here {told['here_exit_ms']}")
        made = record(
            "exported files under onnxruntime-web in a browser, against ONNX Runtime on the same machine and images",
            "executed",
            rows,
            hardware=f"{hardware()}; onnxruntime-web {version} (WebAssembly, one thread), {browser.version}",
        )
    write_json(RESULTS / f"{given.out}.json", made)


if __name__ == "__main__":
    main()
