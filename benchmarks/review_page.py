"""What the review page costs a technician, in a real browser: keystrokes of a case, and milliseconds of every gesture.

    python benchmarks/review_page.py [--cells 200] [--many 2000] [--wrong 0.1] [--seed 0]

Fields of 4000 x 3000 are drawn by the synthetic smear with known truth; the model's calls are that truth, made wrong in
a tenth of the cells. A station serves them to Debian's Chromium (no graphics card), and a scripted technician who knows
the truth reviews the case of `--cells` by the keys of the page alone: the place of each wrong cell, its class, Enter
for each page. Keystrokes are those the station was told of. The same browser then measures, on a case of `--many`
cells: a key to the next frame (take a cell, rename it, turn the page), frames of scrolling the gallery, frames of zoom
and pan on a field, and the time to the next field.
"""

import argparse
import os
import platform
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
from playwright.sync_api import Page, sync_playwright

from marrowscope.cells.specimen import FoundCell, Role
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.smear.field import draw_field
from marrowscope.station.keyboards import keyboards
from marrowscope.station.keyflow import PLACES
from marrowscope.store.store import Store
from marrowscope.web.auth import Passwords

CHROMIUM = "/usr/bin/chromium"
ARGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
PASSWORD = "looks at every cell"
NEIGHBOURS = {"MYELO": "META", "META": "BAND", "BAND": "NEU_SEG", "NORMO_POLY": "NORMO_ORTHO", "LYM": "OTHER"}

# From a key going down to the end of the frame that shows what it did.
KEY_TO_FRAME = """async ([code, key]) => {
  const begun = performance.now();
  document.activeElement.dispatchEvent(new KeyboardEvent("keydown", { key, code, bubbles: true, cancelable: true }));
  await new Promise((done) => requestAnimationFrame(() => {
    const after = new MessageChannel();
    after.port1.onmessage = done;
    after.port2.postMessage(0);
  }));
  return performance.now() - begun;
}"""
COUNT_FRAMES = """() => {
  window.__frames = [];
  let last = performance.now();
  const next = (now) => { window.__frames.push(now - last); last = now; requestAnimationFrame(next); };
  requestAnimationFrame(next);
}"""


def fill(store: Store, code: str, wanted: int, wrong: float, scheme: Taxonomy, seed: int) -> tuple[int, dict[int, str]]:
    """A case of about `wanted` cells: its id, and the truth by cell id."""
    rng = random.Random(seed)
    specimen = store.add_specimen(code, "P-1", by="bench")
    slide = store.add_slide(specimen.id, "1", by="bench")
    truth: dict[int, str] = {}
    drawn: list[tuple[bytes, Any]] = []
    while len(truth) < wanted:
        if len(drawn) < 15:  # beyond this, pictures come again: a case of 2000 cells needs no 140 drawings
            field, there = draw_field(seed + len(drawn), taxonomy=scheme, specimen=seed, cells=14)
            jpeg = cv2.imencode(".jpg", field.pixels[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()
            drawn.append((jpeg, there))
        jpeg, there = drawn[len(truth) % len(drawn)] if len(drawn) == 15 else drawn[-1]
        found, names = [], []
        for box, label in zip(there.boxes[: wanted - len(truth)], there.labels, strict=False):
            name = scheme.classes[int(label)].code
            mistaken = rng.random() < wrong
            score = min(max(rng.gauss(0.62 if mistaken else 0.9, 0.12), 0.2), 0.999)
            called = NEIGHBOURS.get(name, "MYELO" if name != "MYELO" else "META") if mistaken else name
            found.append(FoundCell((*map(float, box),), called, score, 1 - score))  # type: ignore[arg-type]
            names.append(name)
        kept = store.keep_field(slide.id, jpeg, width=4000, height=3000, um_per_px=0.033, found=found, by="bench")
        cells = sorted(store.field_cells(kept.id), key=lambda cell: cell.id)
        truth |= {cell.id: name for cell, name in zip(cells, names, strict=True)}
    return specimen.id, truth


@contextmanager
def station(home: Path) -> Iterator[str]:
    """The address of a running station."""
    command = [str(Path(sys.executable).with_name("marrowscope")), "station", "--home", str(home), "--port", "0"]
    environment = os.environ | {"PYTHONUNBUFFERED": "1", "COLUMNS": "200"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        for line in process.stdout or ():
            if "http://" in line:
                yield line[line.index("http://") :].split()[0]
                return
        raise SystemExit("the station did not start")
    finally:
        process.terminate()
        process.wait(30)


def shown(page: Page) -> list[tuple[int, int]]:
    """(cell id, place) of the crops that bear a key now."""
    script = "all => all.filter(e => e.querySelector('.place')).map(e => [+e.dataset.cell, +e.dataset.index % 40])"
    return [(cell, place) for cell, place in page.eval_on_selector_all(".cell", script)]


def review(page: Page, case: int, truth: dict[int, str], keys: dict[str, str]) -> None:
    """The technician: names what is wrong, confirms each page, to the end."""
    page.goto(f"/cases/{case}/review")
    page.wait_for_selector(".cell .place")
    pages = int(page.inner_text(".pages").split()[-1])
    for _ in range(pages):
        calls = {cell["id"]: cell["code"] for cell in get(page, f"/api/specimens/{case}/cells?limit=1000")["items"]}
        for cell, place in shown(page):
            if calls[cell] != truth[cell]:
                page.keyboard.press(PLACES[place])
                key = keys[truth[cell]]
                page.keyboard.press(f"Shift+{key}" if key.isupper() else key)
        page.keyboard.press("Enter")
        page.wait_for_timeout(300)
    page.goto("/cases")  # leaving sends what has gathered
    page.wait_for_timeout(500)


def get(page: Page, path: str) -> Any:
    return page.evaluate("path => fetch(path).then(answer => answer.json())", path)


def said(what: str, values: list[float]) -> None:
    values = sorted(values)
    middle, high = values[len(values) // 2], values[int(0.95 * (len(values) - 1))]
    print(f"  {what:<34} median {middle:6.1f}   p95 {high:6.1f}   worst {values[-1]:6.1f} ms   (n {len(values)})")


def frames(page: Page, what: str, gesture: Callable[[], None]) -> None:
    page.evaluate("window.__frames.length = 0")
    gesture()
    said(what, page.evaluate("window.__frames"))


def gallery_speed(page: Page, case: int) -> None:
    """Milliseconds of the gestures of the gallery."""
    begun = time.perf_counter()
    page.goto(f"/cases/{case}/review")
    page.wait_for_selector(".cell .place")
    opened, drawn = 1000 * (time.perf_counter() - begun), page.locator(".cell").count()
    print(f"  {'open the gallery':<34} {opened:6.0f} ms, {drawn} crops drawn")
    page.wait_for_timeout(2500)
    press = lambda code, key: page.evaluate(KEY_TO_FRAME, [code, key])  # noqa: E731
    take, name, turn = [], [], []
    for i in range(40):
        take.append(press(PLACES[i], PLACES[i][-1].lower()))
        name.append(press("KeyB" if i % 2 else "KeyS", "b" if i % 2 else "s"))
    for _ in range(30):
        turn.append(press("PageDown", "PageDown"))
        page.wait_for_timeout(60)
    said("key to frame: take a cell", take)
    said("key to frame: reclassify it", name)
    said("key to frame: turn the page", turn)
    page.evaluate(COUNT_FRAMES)
    page.mouse.move(400, 300)

    def scroll() -> None:
        for _ in range(60):
            page.mouse.wheel(0, 160)
            page.wait_for_timeout(16)

    frames(page, "frames while scrolling", scroll)


def field_speed(page: Page) -> None:
    """Milliseconds of the gestures on a field of 4000 x 3000."""
    page.keyboard.press("Home")
    page.keyboard.press("F2")
    page.wait_for_selector(".sheet")
    page.wait_for_selector(".message", state="detached")
    page.wait_for_timeout(1500)
    box = page.locator(".stage").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2

    def zoom() -> None:
        page.mouse.move(x, y)
        for step in (-1, -1, -1, -1, 1, -1, 1, 1, 1, -1, -1, -1):
            page.mouse.wheel(0, 120 * step)
            page.wait_for_timeout(120)

    def pan() -> None:
        page.mouse.move(x, y)
        page.mouse.down()
        for i in range(120):
            page.mouse.move(x + 2 * (i if i < 60 else 120 - i), y + i)
        page.mouse.up()

    frames(page, "frames while zooming 4000 x 3000", zoom)
    frames(page, "frames while panning 4000 x 3000", pan)
    nexts = []
    for _ in range(8):
        page.wait_for_timeout(1500)
        begun = time.perf_counter()
        page.keyboard.press("PageDown")
        page.wait_for_selector(".message", state="detached")
        nexts.append(1000 * (time.perf_counter() - begun))
    said("next field (prefetched)", nexts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=200)
    parser.add_argument("--many", type=int, default=2000)
    parser.add_argument("--wrong", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    wanted = parser.parse_args()
    scheme = load_taxonomy("clinical")
    keys = {code: key for key, code in reversed(keyboards(scheme)[0].keys.items())}
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels") as store:
            store.add_user("tess", "Tess", Role.TECHNICIAN, Passwords().hash(PASSWORD), by="bench")
            case, truth = fill(store, "BENCH-1", wanted.cells, wanted.wrong, scheme, wanted.seed)
            large, _ = fill(store, "BENCH-2", wanted.many, wanted.wrong, scheme, wanted.seed + 100)
        with station(home) as address, sync_playwright() as browsers:
            browser = browsers.chromium.launch(executable_path=CHROMIUM, args=ARGS)
            page = browser.new_page(base_url=address, viewport={"width": 1366, "height": 768})
            page.goto("/login")
            page.fill("input[autocomplete=username]", "tess")
            page.fill("input[type=password]", PASSWORD)
            page.keyboard.press("Enter")
            page.wait_for_selector("nav")
            review(page, case, truth, keys)
            cells = get(page, f"/api/specimens/{case}/cells?limit=1000")["items"]
            spent = get(page, f"/api/specimens/{case}/effort")
            were = sum(cell["called"] != truth[cell["id"]] for cell in cells)
            left = sum(cell["code"] != truth[cell["id"]] or not cell["reviewed"] for cell in cells)
            print(
                f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
            )
            print(
                f"case of {len(cells)} cells, {were} called wrong: {spent['keystrokes']} keystrokes, {left} left wrong"
            )
            print(f"case of {wanted.many} cells:")
            gallery_speed(page, large)
            field_speed(page)
            browser.close()
    allowed = 60 * len(cells) / 200 * max(1.0, were / (0.1 * len(cells)))
    return 0 if not left and spent["keystrokes"] <= allowed else 1


if __name__ == "__main__":
    sys.exit(main())
