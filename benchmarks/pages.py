"""Milliseconds of every GET of the page, over HTTP, in an archive of a million cells.

    python benchmarks/pages.py [--specimens 1000] [--repeats 15] [--home FOLDER]

1000 cases of 20 fields with 50 cells, and one of 100 fields with 200 cells, made by `tests/helpers/bulk_archive.py` as
in benchmarks/archive.py. A real server (uvicorn) answers a real client on loopback, one request at a time. Every GET
route of the OpenAPI description is asked, of an ordinary case and of the huge one; a route that is forgotten fails the
benchmark. `first` is the first answer (pictures are decoded, plans are made), the others are `repeats` further ones.
--home: keep the archive there, and use it again.
"""

import argparse
import platform
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import numpy as np

from marrowscope.cells.field import FieldImage
from marrowscope.cells.specimen import KeptField, Role
from marrowscope.station.settings import StationSettings
from marrowscope.store.store import Store
from marrowscope.web.app import create_app, describe
from marrowscope.web.server import listen, make_server
from marrowscope.web.services import Services

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from helpers.bulk_archive import BulkStore, fill, fill_specimen
from helpers.station import PASSWORD, QUICK, blobs, jpeg, services

LIMIT_MS = 200.0
NO_PAGE = {"/api/live/mjpeg": "a stream", "/api/reports/{report_id}.{kind}": "a stored document"}
DOCUMENTS = "/report/preview."
"""Set anew for every look, with pictures of 12 megapixels: shown beside the pages, and not limited."""


def build(home: Path, specimens: int) -> None:
    """The archive, unless it is there."""
    url = f"sqlite:///{home / 'archive.db'}"
    if (home / "done").exists():
        return
    started = time.perf_counter()
    fill(url, home / "pixels", specimens=specimens, fields=20, cells=50)
    bulk = BulkStore.open(url, home / "pixels")
    with bulk.filling():
        model = bulk.models()[0].id
        fill_specimen(bulk, "HUGE", np.random.default_rng(1), fields=100, cells=200, model_id=model)
    bulk.close()
    (home / "done").touch()
    print(f"archive made in {time.perf_counter() - started:.0f} s")


def real_field(works: Services) -> KeptField:
    """A field of 4000 x 3000 with 50 cells: the bulk ones have pictures of one colour, which decode in no time."""
    store = works.store
    specimen = store.add_specimen(f"REAL-{time.time_ns()}", "P-REAL", by="bench")
    slide = store.add_slide(specimen.id, "1", by="bench")
    pixels = blobs(5, width=4000, height=3000, cells=50)
    noisy = np.clip(pixels + np.random.default_rng(0).normal(0, 4, pixels.shape), 0, 255).astype(np.uint8)
    found, model_id = works.examine(FieldImage(noisy, "real"))
    return works.desk.keep_picture(slide.id, jpeg(noisy), found, width=4000, height=3000, model_id=model_id, by="bench")


def urls(works: Services) -> Iterator[tuple[str, str]]:
    """(route, address) of all that the pages ask for."""
    store = works.store
    _, total = store.specimens(limit=1)
    real = real_field(works)
    crops = [cell.id for cell in store.field_cells(real.id)]
    (found,), _ = store.specimens("HUGE")
    huge = found.specimen.id
    (usual,) = (s.specimen.id for s in store.specimens(state="open", limit=1, offset=total // 4)[0])
    field = store.fields(huge)[50].id
    for path in sorted(p for p, operations in describe()["paths"].items() if "get" in operations and p not in NO_PAGE):
        if path == "/api/specimens":
            last = total - 50
            for query in ("", "?text=26-004", "?text=nobody", "?state=signed", f"?offset={last}"):
                yield path, path + query
        elif path == "/api/specimens/{specimen_id}/cells":
            for case in (usual, huge):
                for query in ("", "?limit=1000", "?order=number", "?code=MYELO", "?reviewed=false&limit=40&offset=400"):
                    yield path, path.replace("{specimen_id}", str(case)) + query
        elif path == "/api/specimens/{specimen_id}/agreement":
            yield path, path.replace("{specimen_id}", str(usual)) + "?first=model&second=case"
            yield path, path.replace("{specimen_id}", str(huge)) + "?first=model&second=case"
        elif "/report" in path:
            # The signed reports of the bulk are empty shells, so an open case, and the one with a real picture.
            yield path, path.replace("{specimen_id}", str(usual))
            yield path, path.replace("{specimen_id}", str(real.specimen_id))
        elif "{specimen_id}" in path:
            yield path, path.replace("{specimen_id}", str(usual))
            yield path, path.replace("{specimen_id}", str(huge))
        elif "{field_id}" in path:
            yield path, path.replace("{field_id}", str(real.id))
            if path.endswith("}"):  # the bulk fields have no pictures
                yield path, path.replace("{field_id}", str(field))
        elif "{cell_id}" in path:
            for cell in crops[:3]:
                yield path, path.replace("{cell_id}", str(cell))
        elif path == "/api/audit":
            yield path, path
            yield path, path + "?offset=10000"
            yield path, path + f"?subject=specimen/{huge}"
        else:
            yield path, path
    for page in ("/", "/cases", f"/cases/{huge}/review"):
        yield "page", page


@contextmanager
def served(works: Services) -> Iterator[str]:
    """The address of a running server."""
    listening = listen(works.settings)
    started = threading.Event()
    server = make_server(create_app(works), works.settings, ready=started.set)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    started.wait(30)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def measure(home: Path, repeats: int) -> int:
    store = Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels")
    works = services(home, store, StationSettings(port=0))
    if "ada" not in {user.name for user in store.users()}:
        store.add_user("ada", "Ada", Role.ADMIN, QUICK.hash(PASSWORD), by="bench")
    cells = store.statistics().cells
    rows: list[tuple[str, int, int, float, float, float]] = []
    with served(works) as address, httpx.Client(base_url=address, timeout=60) as browser:
        browser.post("/api/login", json={"name": "ada", "password": PASSWORD}).raise_for_status()
        for _, url in urls(works):
            times: list[float] = []
            for _ in range(1 + repeats):
                begun = time.perf_counter()
                answer = browser.get(url)
                times.append(1000 * (time.perf_counter() - begun))
            rows.append(
                (url, answer.status_code, len(answer.content), times[0], statistics.median(times[1:]), max(times[1:]))
            )
    return table(rows, cells)


def table(rows: list[tuple[str, int, int, float, float, float]], cells: int) -> int:
    """Print it; how many answers are too slow or wrong."""
    print(f"{cells:,} cells that count; {platform.machine()}, Python {platform.python_version()}; milliseconds")
    print(f"{'GET':68}{'status':>7}{'bytes':>10}{'first':>8}{'median':>8}{'most':>8}")
    wrong = 0
    for url, status, size, first, median, most in sorted(rows, key=lambda row: -row[4]):
        bad = status != 200 or (max(first, median) > LIMIT_MS and DOCUMENTS not in url)
        wrong += bad
        print(f"{url[:67]:68}{status:>7}{size:>10}{first:>8.1f}{median:>8.1f}{most:>8.1f}{'  <--' if bad else ''}")
    print(f"{len(rows)} addresses; {wrong} above {LIMIT_MS:.0f} ms or not answered")
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--specimens", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--home", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as aside:
        home = given.home or Path(aside)
        home.mkdir(parents=True, exist_ok=True)
        build(home, given.specimens)
        sys.exit(1 if measure(home, given.repeats) else 0)


if __name__ == "__main__":
    main()
