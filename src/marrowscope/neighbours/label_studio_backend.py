"""Label Studio's ML backend protocol over HTTP: a project asks, the detector answers with predictions.

The protocol is that of label-studio-ml-backend (https://github.com/HumanSignal/label-studio-ml-backend) as Label
Studio's `ml/api_connector.py` speaks it:

GET  /health                 is it up
POST /setup                  a project connects: which model version answers. Its host name and token are not listened
                             to: whoever reached this port could then send the backend anywhere
GET  /versions               versions of the model
POST /predict                tasks -> predictions, one a task and in order
POST /webhook, /train        training does not begin from here; events are taken note of and nothing more
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from marrowscope import __version__
from marrowscope.assemble.detectors import SHIPPED, OpenedDetector, open_detector
from marrowscope.assemble.station import model_file
from marrowscope.data.problems import quote
from marrowscope.detect.detector import one_name_per_cell
from marrowscope.errors import BadInput
from marrowscope.neighbours.label_studio import Labelling, prediction, read_labelling
from marrowscope.neighbours.task_images import TaskImages
from marrowscope.station.settings import StationSettings
from marrowscope.web import problems
from marrowscope.web.headers import Guard, KnownHosts, is_loopback
from marrowscope.web.limits import BodyLimit

log = logging.getLogger(__name__)

_REQUEST_BYTES = 32 * 1024 * 1024
"""A batch of tasks comes with everything that was said of them so far."""
_NO_TRAINING = (
    "Training does not begin from Label Studio: export the project as JSON, then `marrowscope data convert` and "
    "`marrowscope train`."
)


class _Foreign(BaseModel):
    """What Label Studio sends. Entries that are not used are passed over: each of its versions adds some."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Setup(_Foreign):
    """A project connects."""

    label_config: str | None = Field(default=None, alias="schema")


class Task(_Foreign):
    """A task: its data holds where the picture is."""

    id: int | str | None = None
    data: dict[str, Any]


class PredictRequest(_Foreign):
    """Tasks of one project."""

    tasks: list[Task]
    label_config: str


class Event(_Foreign):
    """Something happened in a project."""

    action: str = ""


@dataclass(frozen=True, eq=False)
class Backend:
    """A detector that answers tasks. score: detections below it are not told. version: as Label Studio shows it."""

    opened: OpenedDetector
    images: TaskImages
    score: float
    version: str
    _told: set[tuple[str, ...]] = field(default_factory=set, init=False, repr=False)
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False)

    def labelling(self, config: str) -> Labelling:
        """The labelling of a project; classes that it has no label for are told in the log."""
        labelling = read_labelling(config, self.opened.detector.taxonomy)
        if labelling.unlabelled and labelling.unlabelled not in self._told:
            self._told.add(labelling.unlabelled)
            log.warning("the project has no label for: %s. Such cells are left out", ", ".join(labelling.unlabelled))
        return labelling

    def predict(self, tasks: list[Task], labelling: Labelling) -> dict[str, Any]:
        """`results`, one a task, and `left_out`: cells by class for which there is no label.

        A task whose picture cannot be read gets its `error` in the place of a result, which Label Studio logs and
        passes over; BadInput where that is so of every task.
        """
        results: list[dict[str, Any]] = []
        left_out: Counter[str] = Counter()
        failed = 0
        for task in tasks:
            try:
                result, lost = self._answer(task, labelling)
                left_out += lost
            except BadInput as error:
                log.warning("task %s: %s", task.id, error)
                result, failed = {"error": str(error)}, failed + 1
            results.append(result)
        if tasks and failed == len(tasks):
            raise BadInput(str(results[0]["error"]))
        return {"results": results, "left_out": dict(left_out)}

    def _answer(self, task: Task, labelling: Labelling) -> tuple[dict[str, Any], Counter[str]]:
        uri = task.data.get(labelling.data_key)
        if not isinstance(uri, str) or not uri:
            raise BadInput(f"task {quote(task.id)}: has no picture under '{labelling.data_key}'. Import it again.")
        detector = self.opened.detector
        picture = self.images.read(uri, at_least=detector.input_size)
        with self._turn:
            (found,) = detector.detect([picture])
        cells = one_name_per_cell(found.above(self.score))
        return prediction(cells, (picture.width, picture.height), labelling, self.version)


def open_backend(
    model: str, *, images: TaskImages, score: float | None = None, device: str = "auto", runtime: str = "auto"
) -> Backend:
    """A backend with this model (as for `marrowscope detect`); score: left out, the model's own threshold.

    Its version holds the hash of the weights and the score: Label Studio asks anew for tasks whose predictions bear
    another version.
    """
    file = model_file(model, Path())
    opened = open_detector(model, device=device, runtime=runtime)
    counts_from = opened.score_threshold if score is None else score
    name = model if model in SHIPPED else "/".join(file.path.resolve().parts[-2:])
    return Backend(opened, images, counts_from, f"marrowscope {name} {file.digest[:8]} score {counts_from:.3f}")


def backend_app(backend: Backend, *, host: str = "127.0.0.1", names: tuple[str, ...] = ()) -> FastAPI:
    """The protocol over a backend. host: where it listens; names: others by which Label Studio calls this machine."""
    app = FastAPI(title="marrowscope for Label Studio", version=__version__, docs_url=None, redoc_url=None)
    problems.install(app)

    @app.get("/")
    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP", "model_class": "marrowscope", "model_version": backend.version}

    @app.post("/setup")
    def setup(said: Setup) -> dict[str, str]:
        # A project may connect before its labels are written: its config is then an empty view.
        if "<Label" in (said.label_config or ""):
            backend.labelling(said.label_config or "")
        return {"model_version": backend.version}

    @app.api_route("/versions", methods=["GET", "POST"])
    async def versions() -> dict[str, list[str]]:
        return {"versions": [backend.version]}

    @app.post("/predict")
    def predict(said: PredictRequest) -> dict[str, Any]:
        return backend.predict(said.tasks, backend.labelling(said.label_config))

    @app.post("/webhook")
    async def webhook(said: Event) -> JSONResponse:
        if said.action == "START_TRAINING":
            return problems.problem(501, _NO_TRAINING, "no_training")
        return JSONResponse({"status": "ok"})

    @app.post("/train")
    async def train() -> JSONResponse:
        return problems.problem(501, _NO_TRAINING, "no_training")

    app.add_middleware(problems.CatchFaults)
    app.add_middleware(BodyLimit, limit=lambda path: _REQUEST_BYTES)
    app.add_middleware(Guard, hosts=KnownHosts(names, network=not is_loopback(host)))
    return app


def serve(backend: Backend, settings: StationSettings, *, ready: Callable[[str], None]) -> None:
    """Answer until a signal comes. BadSetting where that is not permitted, or the port is taken.

    ready: called with the address once it answers. Where it may listen is ruled as for a station.
    """
    from marrowscope.web.server import address_of, listen, make_server

    listening = listen(settings)
    try:
        app = backend_app(backend, host=settings.host, names=settings.hosts)
        address = address_of(settings, listening)
        server = make_server(app, settings, ready=lambda: ready(address), end_streams=lambda: None)
        server.run(sockets=[listening])
    finally:
        listening.close()
