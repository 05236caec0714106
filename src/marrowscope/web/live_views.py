"""The live session as answers: how it stands, the map, the counts."""

from typing import TYPE_CHECKING

from marrowscope.cells.differential import count_labels
from marrowscope.web.schemas.live import (
    CameraFacts,
    ControlState,
    Counts,
    LiveState,
    MapCell,
    MapField,
    Patch,
    Place,
    SlideMap,
    Spread,
    StageLimits,
    StageState,
)
from marrowscope.web.services import Services
from marrowscope.web.tallies import tally, tally_of_case

if TYPE_CHECKING:
    from marrowscope.station.atlas import Rect

NOTHING = LiveState(
    running=False,
    connected=False,
    detecting=False,
    calibrated=False,
    address=None,
    info=None,
    controls={},
    stage=None,
    specimen_id=None,
    slide_id=None,
    simulated=False,
    stale=False,
    stale_s=0.0,
    fps=0.0,
    timings_ms={},
    problem=None,
)


def live_state(works: Services) -> LiveState:
    """The microscope as it stands."""
    running = works.microscope.now
    if running is None:
        return NOTHING
    state = running.session.state()
    stage = None
    if state.stage is not None:
        position, limits = state.stage
        places = [Place(x_um=p.x_um, y_um=p.y_um, z_um=p.z_um) for p in (position, limits.low, limits.high)]
        stage = StageState(position=places[0], limits=StageLimits(low=places[1], high=places[2]))
    return LiveState(
        running=state.running,
        connected=state.connected,
        detecting=state.detecting,
        calibrated=state.calibrated,
        address=running.address,
        info=None if state.info is None else CameraFacts.model_validate(state.info),
        controls={
            control.value: ControlState(low=span.low, high=span.high, value=value)
            for control, (span, value) in state.controls.items()
        },
        stage=stage,
        specimen_id=running.slide.specimen_id,
        slide_id=running.slide.id,
        simulated=running.opened.faults is not None,
        stale=state.stale,
        stale_s=state.stale_s,
        fps=state.fps,
        timings_ms={stage: Spread(p50=p50, p95=p95) for stage, (p50, p95) in state.timings.items()},
        problem=state.problem,
    )


def _patch(part: "Rect") -> Patch:
    return Patch(x=part.x1, y=part.y1, w=part.x2 - part.x1, h=part.y2 - part.y1)


def live_map(works: Services) -> SlideMap:
    """What was seen of the slide in this visit, and the fields that were kept in it."""
    running = works.microscope.now
    if running is None:
        return SlideMap(here=None, visited=[], fields=[], cells=[], visit=None)
    found = running.session.map()
    fields = []
    for field in works.store.fields(running.slide.specimen_id):
        if field.visit == found.visit and field.x_um is not None and field.y_um is not None:
            scale = field.um_per_px or 1.0
            w, h = field.width * scale, field.height * scale
            place = {"x": field.x_um - w / 2, "y": field.y_um - h / 2, "w": w, "h": h}
            fields.append(MapField(id=field.id, number=field.number, **place))
    return SlideMap(
        here=None if found.here is None else _patch(found.here),
        visited=[_patch(part) for part in found.visited],
        fields=fields,
        cells=[MapCell(x=c.x_um, y=c.y_um, code=c.code, counted=c.counted) for c in found.cells],
        visit=found.visit,
    )


def live_counts(works: Services) -> Counts:
    """The cells of the visit, each once, and those of the case."""
    running = works.microscope.now
    if running is None:
        nothing = tally(count_labels([], works.scheme))
        return Counts(visit=None, live=nothing, kept=None, fields=0, verdict=None)
    view = running.feed.view
    unique = {} if view is None else view.unique_cells
    labels = [works.scheme.index(code) for code, n in unique.items() for _ in range(n)]
    kept, verdict = tally_of_case(works, running.slide.specimen_id)
    return Counts(
        visit=None if view is None else view.visit,
        live=tally(count_labels(labels, works.scheme)),
        kept=kept,
        fields=works.microscope.kept,
        verdict=verdict,
    )
