"""The live page in a real browser: pictures a second as drawn, and their age when they are drawn; detection runs.

    python benchmarks/live_page.py                  # a minute; `python benchmarks/live.py --page` does the same

`marrowscope station` is started in a process of its own on a free port, with the simulated microscope at 1920 x 1080
and the shipped model; Chromium opens the live page at 1366 x 768, on the same cores. The stage moves all the while. The
numbers are those that the page measures: after a picture was decoded and drawn, from the end of its exposure.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import Page, sync_playwright

PASSWORD = "a smear under the lens"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
LISTEN = """
window.readouts = [];
window.Worker = class extends Worker {
  constructor(...how) {
    super(...how);
    this.addEventListener("message", ({data}) => {
      if (data.kind === "readout" && !data.readout.header.stale) window.readouts.push({
        fps: data.readout.shown_fps, age: data.readout.age_ms,
        decode: data.readout.decode_ms, draw: data.readout.draw_ms,
        timings: data.readout.header.timings_ms, boxes: data.readout.header.overlay.cells.length,
        overlay: data.readout.header.overlay.age_ms,
      });
    });
  }
};
"""


@contextmanager
def station(home: Path) -> Iterator[tuple[str, psutil.Process]]:
    """A running station: its address and its process."""
    words = [sys.executable, "-c", "from marrowscope.cli import main; main()", "station", "--home", str(home)]
    process = subprocess.Popen(
        [*words, "--port", "0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
    )
    try:
        address = ""
        for line in process.stdout or ():
            if found := re.search(r"https?://\S+", line):
                address = found[0].rstrip("/")
            if "Ctrl-C" in line:
                break
        if not address:
            raise SystemExit("the station did not start")
        yield address, psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(60)


class Visitor:
    """A person at the page."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address

    def api(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """What the page itself would ask."""
        cookies = {c["name"]: c["value"] for c in self.page.context.cookies()}
        headers = {"X-CSRF-Token": cookies.get("marrowscope_csrf", ""), "Origin": self.address}
        answer = self.page.request.fetch(self.address + path, method=method, headers=headers, data=body)
        if not answer.ok:
            raise SystemExit(f"{method} {path}: {answer.status} {answer.text()}")
        return answer.json() if answer.body() else None

    def sign_in(self) -> None:
        """Make the first person and a technician, who then sits at the page."""
        self.api("POST", "/api/setup", {"name": "ada", "full_name": "Ada", "password": PASSWORD})
        self.api("POST", "/api/login", {"name": "ada", "password": PASSWORD})
        self.api(
            "POST", "/api/users", {"name": "tess", "full_name": "Tess", "role": "technician", "password": PASSWORD}
        )
        self.page.context.clear_cookies()
        self.api("POST", "/api/login", {"name": "tess", "password": PASSWORD})


def cpu_of(process: psutil.Process) -> float:
    """Seconds of processor time that it and its children have used."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def watch(seconds: float, picture: Path | None) -> None:
    """Start everything, look at the page for so long, and print."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    if chromium is None:
        raise SystemExit("no Chromium: install the system's package `chromium`, or name one in the variable CHROMIUM.")
    with (
        tempfile.TemporaryDirectory() as folder,
        station(Path(folder) / "station") as (address, server),
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1366, "height": 768})
        page.add_init_script(LISTEN)
        visitor = Visitor(page, address)
        visitor.sign_in()
        specimen = visitor.api("POST", "/api/specimens", {"code": "M26-0001", "patient_code": "P-1"})
        case = specimen.get("id") or specimen["specimen"]["id"]
        visitor.api("POST", "/api/live/start", {"address": "simulated", "specimen_id": case})
        page.goto(address + "/live")
        wait_for_boxes(page)
        visitor.api("POST", "/api/live/exposure")
        visitor.api("POST", "/api/live/white-balance", {})
        roam(visitor, 15)  # the glass is drawn, the page has warmed up
        page.evaluate("window.readouts.length = 0")
        before, start = cpu_of(server), time.monotonic()
        roam(visitor, seconds)
        spent, took = cpu_of(server) - before, time.monotonic() - start
        readouts = json.loads(page.evaluate("JSON.stringify(window.readouts)"))
        if picture is not None:
            page.screenshot(path=str(picture))
        browser.close()
    say(readouts, took, spent)


def wait_for_boxes(page: Page) -> None:
    """Until the detector is open and its first boxes are drawn."""
    deadline = time.monotonic() + 240
    while time.monotonic() < deadline:
        if page.evaluate("window.readouts.some(r => r.boxes > 0)"):
            return
        time.sleep(0.5)
    raise SystemExit("no boxes came within four minutes")


def roam(visitor: Visitor, seconds: float) -> None:
    """Move the stage to and fro over a dozen fields."""
    until = time.monotonic() + seconds
    steps = [(66, 0)] * 3 + [(0, 45)] + [(-66, 0)] * 3 + [(0, -45)]
    n = 0
    while time.monotonic() < until:
        x, y = steps[n % len(steps)]
        visitor.api("POST", "/api/live/move", {"x_um": float(x), "y_um": float(y), "relative": True})
        n += 1
        time.sleep(0.6)


def say(readouts: list[dict[str, Any]], took: float, spent: float) -> None:
    """Print what the page measured."""
    ages = [r["age"] for r in readouts if r["age"] is not None]
    fps = sorted(r["fps"] for r in readouts)
    print(f"page at 1366 x 768 for {took:.0f} s, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}")
    print(f"drawn: {statistics.median(fps):.1f} pictures/s (middle), {fps[len(fps) // 20]:.1f} in the slowest 5 %")
    p95 = sorted(a["p95"] for a in ages)
    print(
        f"age when drawn: {statistics.median(a['median'] for a in ages):.0f} ms middle; p95 (of 150 pictures each) "
        f"{statistics.median(p95):.0f} ms in the middle stretch, {p95[-1]:.0f} ms in the worst"
    )
    decode, draw = (statistics.median(r[k] for r in readouts) for k in ("decode", "draw"))
    stages = {k: statistics.median(r["timings"].get(k, 0.0) for r in readouts) for k in readouts[-1]["timings"]}
    stages |= {"decode": decode, "draw": draw}
    print("stages, ms (middle):", ", ".join(f"{k} {v:.1f}" for k, v in stages.items()))
    print(f"detected {statistics.median(r['overlay'] for r in readouts):.0f} ms before the picture (middle)")
    print(f"server: {spent / took:.2f} cores, detection among it: that takes whatever is left over")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--picture", type=Path, help="save a picture of the page here at the end")
    options = parser.parse_args()
    watch(60 * options.minutes, options.picture)


if __name__ == "__main__":
    main()
