"""The composition root of a station: settings -> archive, model, microscope, desk -> app.

The home folder holds everything: `station.toml`, `archive.db`, `pixels/`, `models/`, `exports/`, `logs/`, and `cache/`,
which may be deleted. The model that looks at new fields is the one that serves in the archive; a model that is named in
the settings for the first time serves from then on.
"""

import hashlib
import json
import logging
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from fastapi import FastAPI

from marrowscope.assemble.cameras import open_microscope
from marrowscope.assemble.detectors import SHIPPED, OpenedDetector, checkpoint_path, open_detector
from marrowscope.assemble.discovery import look_everywhere
from marrowscope.assemble.headers import WEIGHTS, classes_of, header_of, training_of
from marrowscope.assemble.teaching import learn
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.cells.specimen import ModelVersion
from marrowscope.cells.taxonomy import Taxonomy, builtin_schemes, load_taxonomy
from marrowscope.errors import BadCheckpoint
from marrowscope.station.desk import Desk
from marrowscope.station.detecting import DetectionProcess, that_count
from marrowscope.station.drift import DriftWatch
from marrowscope.station.live import FROZEN_AFTER_S, LiveSession
from marrowscope.station.review import Review
from marrowscope.station.settings import StationSettings
from marrowscope.station.signout import SignOut
from marrowscope.station.teaching import Teaching
from marrowscope.store.store import Store
from marrowscope.web.app import create_app
from marrowscope.web.microscope import Microscope, Opened
from marrowscope.web.pictures import Pictures
from marrowscope.web.schemas.live import CameraChoice
from marrowscope.web.services import Services
from marrowscope.web.sessions import Sessions

log = logging.getLogger(__name__)

BY = "station"
"""Who does in the archive what the station does by itself."""
SIMULATED = "simulated"
_DETECT_S = 120.0


@dataclass(frozen=True)
class ModelFile:
    """What is known of a model without running it. digest: SHA-256 (hex) of its file."""

    name: str
    path: Path
    digest: str
    scheme: str
    about: str


def model_file(name: str, home: Path) -> ModelFile:
    """The model of this name or path. BadCheckpoint where there is none."""
    path = checkpoint_path(name) if name in SHIPPED else home / name
    file = path / WEIGHTS if path.is_dir() else path
    if not file.is_file():
        raise BadCheckpoint(
            f"model '{name}': no {file}. Give a folder such as RUN/best, or one of {', '.join(SHIPPED)}."
        )
    scheme, about = _header(file)
    return ModelFile(name, path, hashlib.sha256(file.read_bytes()).hexdigest(), scheme, about)


def _header(file: Path) -> tuple[str, str]:
    """Taxonomy and validation figures as a checkpoint's header states them."""
    try:
        said = header_of(file)
        return str(said["taxonomy"]["name"]), json.dumps(said["metrics"])
    except (BadCheckpoint, KeyError, TypeError):
        return "unknown", ""


class Serving:
    """The model in service: for the live view, and for uploaded pictures in a process that starts with the first."""

    def __init__(self, store: Store, home: Path, score: float | None, runtime: str) -> None:
        self._store, self._home, self._score, self._runtime = store, home, score, runtime
        self._process: tuple[int, DetectionProcess] | None = None
        self._turn = threading.Lock()

    def register(self, name: str, *, chosen: bool) -> ModelVersion:
        """Write the model down; one that was never seen before serves from now on.

        chosen: by a person. A shipped one that nobody named takes the place of another shipped one alone, never that
        of a model that the lab trained or promoted.
        """
        found = model_file(name, self._home)
        known = {model.digest for model in self._store.models()}
        model = self._store.add_model(found.name, found.digest, found.scheme, str(found.path), found.about, by=BY)
        serving = self._store.serving_model()
        if serving is None or (found.digest not in known and (chosen or serving.name in SHIPPED)):
            self._store.promote(model.id, by=BY, why="named in the station's settings")
        return model

    def model(self) -> ModelVersion:
        """The model in service."""
        serving = self._store.serving_model()
        if serving is None:
            raise BadCheckpoint("no model serves. Name one in station.toml, or promote one on the admin page.")
        return serving

    def source(self, model: ModelVersion) -> "partial[OpenedDetector]":
        """Opens it, in another process."""
        return partial(open_detector, model.path, device="cpu", runtime=self._runtime)

    def glance_source(self, name: str | None) -> "partial[OpenedDetector] | None":
        """Opens the detector of the moving view; None where the model in service sees that too."""
        return (
            None
            if name is None
            else partial(open_detector, model_file(name, self._home).path, device="cpu", runtime=self._runtime)
        )

    def examine(self, field: FieldImage) -> tuple[Detections, int]:
        """What it finds in a picture, and which version it was."""
        with self._turn:
            model = self.model()
            if self._process is None or self._process[0] != model.id:
                self._end()
                process = DetectionProcess(self.source(model))
                process.start()
                self._process = model.id, process
            process = self._process[1]
            found = process.detect(field.pixels, field.um_per_px).result(_DETECT_S)
            score = self._score if self._score is not None else process.score or 0.0
            return that_count(found.detections, score), model.id

    def close(self) -> None:
        """End the process."""
        with self._turn:
            self._end()

    def _end(self) -> None:
        if self._process is not None:
            self._process[1].close()
            self._process = None


def _open_live(address: str, *, serving: Serving, scheme: Taxonomy, settings: StationSettings) -> Opened:
    model = serving.model()
    microscope = open_microscope(address)
    session = LiveSession(
        microscope.camera,
        microscope.stage,
        serving.source(model),
        scheme=scheme,
        glance_source=serving.glance_source(settings.live_model),
        score=settings.score,
        # A replayed picture stands still by right.
        frozen_after_s=math.inf if address.startswith("replay:") else FROZEN_AFTER_S,
    )
    return Opened(session, microscope.faults, model.id, microscope.close)


def camera_choices(settings: StationSettings) -> list[CameraChoice]:
    """The cameras of the settings, the one that is offered first first; the simulated one is always there."""
    addresses = dict.fromkeys((settings.camera, *settings.cameras, SIMULATED))
    return [CameraChoice(address=address, title=_title(address)) for address in addresses]


def _title(address: str) -> str:
    kind, _, rest = address.partition("?")[0].partition(":")
    return "Simulated microscope" if kind == SIMULATED else f"{kind} {rest}"


def _look() -> list[CameraChoice]:
    return [CameraChoice(address=c.address, title=c.title) for state in look_everywhere() for c in state.cameras]


def open_station(home: Path, settings: StationSettings) -> Services:
    """Everything that the pages work on; close it when done. Raises what settings, archive and model give cause for."""
    home = home.resolve()
    home.mkdir(parents=True, exist_ok=True)
    for folder in ("models", "exports", "cache"):
        (home / folder).mkdir(exist_ok=True)
    scheme = load_taxonomy(settings.scheme if settings.scheme in builtin_schemes() else home / settings.scheme)
    store = Store.open(settings.archive or f"sqlite:///{home / 'archive.db'}", home / "pixels")
    serving = Serving(store, home, settings.score, settings.runtime)
    try:
        serving.register(settings.detector, chosen=settings.model is not None)
        serving.glance_source(settings.live_model)  # a name that is wrong is told before the first look
    except BaseException:
        store.close()
        raise
    return Services(
        home=home,
        settings=settings,
        store=store,
        scheme=scheme,
        desk=Desk(store, scheme),
        review=Review(store, scheme),
        signout=SignOut(store, scheme),
        teaching=Teaching(
            store,
            scheme,
            home,
            knows=classes_of,
            learn=partial(learn, models=home / "models", runtime=settings.runtime),
        ),
        drift=DriftWatch(store, scheme, knows=training_of, score=settings.score),
        microscope=Microscope(partial(_open_live, serving=serving, scheme=scheme, settings=settings)),
        examine=serving.examine,
        cameras=camera_choices(settings),
        look=_look,
        pictures=Pictures(store, home / "cache"),
        sessions=Sessions(
            store, idle=timedelta(minutes=settings.idle_minutes), longest=timedelta(hours=settings.session_hours)
        ),
        closers=(serving.close,),
    )


def station_app(home: Path, settings: StationSettings) -> FastAPI:
    """The app over a station; its services are at `app.state.services`, and are closed when the app ends."""
    return create_app(open_station(home, settings))


Ready = Callable[[str, bool], None]
"""Called with the address of the page, and whether the first person is still to be made."""


def run_station(home: Path, settings: StationSettings, *, ready: Ready) -> None:
    """Serve until a signal comes. BadSetting where that is not permitted, or the port is taken."""
    from marrowscope.assemble.station_log import close_log, open_log
    from marrowscope.web.server import address_of, listen, make_server

    settings = settings.inside(home)
    listening = listen(settings)
    try:
        home.mkdir(parents=True, exist_ok=True)
        handler = open_log(home)
        try:
            app = station_app(home, settings)
            services: Services = app.state.services
            needed = not services.store.has_users()
            address = address_of(settings, listening)
            server = make_server(app, settings, ready=lambda: ready(address, needed))
            log.info("station opened at %s", address)
            try:
                server.run(sockets=[listening])
            finally:
                services.close()
                log.info("station closed")
        finally:
            close_log(handler)
    finally:
        listening.close()
