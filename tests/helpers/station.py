"""A whole station in a temporary folder: real archive, real desk, blobs for cells, and people of every role."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import simplejpeg
from argon2 import PasswordHasher
from fastapi import FastAPI
from fastapi.testclient import TestClient
from numpy.typing import NDArray

from marrowscope.assemble.cameras import open_microscope
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.specimen import KeptField, Role, Specimen
from marrowscope.cells.taxonomy import load_taxonomy
from marrowscope.station.desk import Desk
from marrowscope.station.drift import DriftWatch
from marrowscope.station.live import LiveSession
from marrowscope.station.review import Review
from marrowscope.station.settings import StationSettings
from marrowscope.station.signout import SignOut
from marrowscope.station.teaching import Learned, Lesson, Teaching
from marrowscope.store.store import Store
from marrowscope.web.app import create_app
from marrowscope.web.auth import Passwords
from marrowscope.web.microscope import Microscope, Opened
from marrowscope.web.pictures import Pictures
from marrowscope.web.routes.pages import PageFile
from marrowscope.web.schemas.live import CameraChoice
from marrowscope.web.services import Services
from marrowscope.web.sessions import CSRF_COOKIE, Sessions
from oracles.blob_detector import BlobDetector

PASSWORD = "correct horse battery"
QUICK = Passwords(PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
HERE = "http://127.0.0.1:8420"
STREAM = "ws://127.0.0.1:8420/api/live/stream"
PAGE = {
    "index.html": PageFile(b"<!doctype html><title>marrowscope</title>", "text/html", "a" * 32, False),
    "assets/app-1a2b.js": PageFile(b"console.log('page');" * 200, "text/javascript", "b" * 32, True),
}
PEOPLE = {
    "rea": Role.READER,
    "tess": Role.TECHNICIAN,
    "hanna": Role.HAEMATOLOGIST,
    "ada": Role.ADMIN,
}
CAMERA = "simulated?width=320&height=240&fps=20&width_um=600&height_um=600&um_per_px=0.25"


def blobs(seed: int = 0, *, width: int = 320, height: int = 240, cells: int = 6) -> NDArray[np.uint8]:
    """A pale field with dark discs in a row, far from each other."""
    rng = np.random.default_rng(seed)
    pixels = np.full((height, width, 3), (228, 220, 226), np.uint8)
    for n in range(cells):
        x, y = int((n + 0.5) * width / cells), int(rng.integers(40, height - 40))
        shade = int(rng.integers(10, 110))
        cv2.circle(pixels, (x, y), 16, (shade, shade, shade), cv2.FILLED)
    return pixels


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(simplejpeg.encode_jpeg(pixels, quality=95, colorspace="RGB", colorsubsampling="444"))


def png(pixels: NDArray[np.uint8], suffix: str = ".png") -> bytes:
    return bytes(cv2.imencode(suffix, pixels[:, :, ::-1])[1].tobytes())


@dataclass(eq=False)
class Station:
    """A running app, and the services under it."""

    app: FastAPI
    works: Services

    def client(self, name: str | None = None, *, base_url: str = HERE) -> TestClient:
        """A browser; signed in where a name is given."""
        client = TestClient(self.app, base_url=base_url, raise_server_exceptions=False, client=("127.0.0.1", 50000))
        if name is not None:
            sign_in(client, name)
        return client

    def case(self, code: str = "S-1") -> tuple[Specimen, int]:
        """A new case with one slide: the specimen and the slide's id."""
        specimen = self.works.store.add_specimen(code, f"P-{code}", by="tess")
        return specimen, self.works.store.add_slide(specimen.id, "A1", by="tess").id

    def field(self, slide_id: int, seed: int = 0) -> KeptField:
        """A kept field of blobs."""
        pixels = blobs(seed)
        found, model_id = self.works.examine(FieldImage(pixels, "blobs"))
        height, width = pixels.shape[:2]
        return self.works.desk.keep_picture(
            slide_id, jpeg(pixels), found, width=width, height=height, model_id=model_id, by="tess"
        )


def sign_in(client: TestClient, name: str, password: str = PASSWORD) -> None:
    """Log in, and send the CSRF header from now on."""
    answer = client.post("/api/login", json={"name": name, "password": password})
    assert answer.status_code == 200, answer.text
    client.headers["x-csrf-token"] = client.cookies[CSRF_COOKIE]


@cache
def _fresh_archive(people: bool) -> bytes:
    """A new archive as a file. Made once: its tables take longer to make than most tests."""
    with TemporaryDirectory() as aside:
        home = Path(aside)
        with Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels") as store:
            for name, role in PEOPLE.items() if people else ():
                store.add_user(name, f"{name.title()} of the lab", role, QUICK.hash(PASSWORD), by="ada")
        assert not (home / "archive.db-wal").exists()
        return (home / "archive.db").read_bytes()


@contextmanager
def station(home: Path, *, people: bool = True, **settings: object) -> Iterator[Station]:
    """A station in this folder, until the block ends."""
    (home / "archive.db").write_bytes(_fresh_archive(people))
    store = Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels")
    works = services(home, store, StationSettings(camera=CAMERA, **settings))  # type: ignore[arg-type]
    app = create_app(works, page=PAGE)
    try:
        yield Station(app, works)
    finally:
        works.close()


def open_live(address: str, *, model_id: int) -> Opened:
    """A live session on the simulated microscope, in which blobs are found by a process of its own."""
    microscope = open_microscope(address)
    scheme = load_taxonomy("clinical")
    session = LiveSession(microscope.camera, microscope.stage, BlobDetector, scheme=scheme, score=0.0)
    return Opened(session, microscope.faults, model_id, microscope.close)


def _learn(lesson: Lesson) -> Learned:
    """As if it had been learned."""
    return Learned(Path("models/taught"), "cd" * 32, {"name": lesson.cell.name, "fields": len(lesson.fields)})


def services(home: Path, store: Store, settings: StationSettings) -> Services:
    """Everything real but the detector, which finds blobs."""
    scheme = load_taxonomy("clinical")
    model = store.add_model("blobs", "ab" * 32, "shades", "", "finds dark blobs", by="station")
    store.promote(model.id, by="station", why="the first")
    detector = BlobDetector()

    def examine(field: FieldImage) -> tuple[Detections, int]:
        return detector.detect([field])[0], model.id

    return Services(
        home=home,
        settings=settings,
        store=store,
        scheme=scheme,
        desk=Desk(store, scheme),
        review=Review(store, scheme),
        signout=SignOut(store, scheme, zone=UTC),
        teaching=Teaching(store, scheme, home, knows=lambda model: detector.taxonomy, learn=_learn),
        drift=DriftWatch(store, scheme, knows=lambda model: None),
        microscope=Microscope(partial(open_live, model_id=model.id)),
        examine=examine,
        cameras=[CameraChoice(address=CAMERA, title="Simulated microscope")],
        look=lambda: [],
        pictures=Pictures(store, home / "cache"),
        sessions=Sessions(
            store,
            idle=timedelta(minutes=settings.idle_minutes),
            longest=timedelta(hours=settings.session_hours),
        ),
        passwords=QUICK,
    )
