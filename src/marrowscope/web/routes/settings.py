"""What the laboratory sets once: letterhead, reference ranges, stop rule, this station; and the eyepiece."""

import json
import threading
from datetime import UTC, datetime
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path
from pydantic import TypeAdapter

from marrowscope.cells.reference import ReferenceRanges, load_reference
from marrowscope.errors import BadTaxonomy
from marrowscope.web.permissions import Admin, Reader, Technician
from marrowscope.web.schemas.admin import (
    Calibration,
    EyepieceCalibration,
    Letterhead,
    References,
    StationPreferences,
    StopRule,
)
from marrowscope.web.schemas.common import Body
from marrowscope.web.services import Services, Works

router = APIRouter(tags=["settings"])


_CALIBRATIONS = TypeAdapter(dict[str, EyepieceCalibration])
_one_at_a_time = threading.Lock()
B = TypeVar("B", bound=Body)


def _kept(works: Services, key: str, kind: type[B]) -> B:
    """A setting as it was kept; the defaults where it never was."""
    text = works.store.setting(key)
    return kind() if text is None else kind.model_validate_json(text)


def _keep(works: Services, key: str, value: B, *, by: str) -> B:
    works.store.set_setting(key, value.model_dump_json(), by=by)
    return value


@router.get("/settings/letterhead")
def letterhead(works: Works, who: Reader) -> Letterhead:
    """Head and foot of every report."""
    return _kept(works, "letterhead", Letterhead)


@router.put("/settings/letterhead")
def set_letterhead(body: Letterhead, works: Works, who: Admin) -> Letterhead:
    """Change it; signed reports stay as they are."""
    return _keep(works, "letterhead", body, by=who.name)


@router.get("/settings/references")
def references(works: Works, who: Reader) -> References:
    """The reference ranges; those of an atlas where the laboratory has set none."""
    text = works.store.setting("references")
    values = load_reference("theml").to_dict() if text is None else json.loads(text)
    return References.model_validate(values)


@router.put("/settings/references")
def set_references(body: References, works: Works, who: Admin) -> References:
    """Change them."""
    ReferenceRanges.from_dict(body.model_dump(mode="json"))
    return _keep(works, "references", body, by=who.name)


@router.get("/settings/stop-rule")
def stop_rule(works: Works, who: Reader) -> StopRule:
    """When enough was counted."""
    return StopRule.model_validate(works.signout.rules().stop_rule.to_dict())


@router.put("/settings/stop-rule")
def set_stop_rule(body: StopRule, works: Works, who: Admin) -> StopRule:
    """Change it."""
    known = {cell.code for cell in works.scheme}
    if unknown := sorted({code for cutoff in body.cutoffs for code in cutoff.codes} - known):
        raise BadTaxonomy(
            f"'{unknown[0]}' is no class code of scheme '{works.scheme.name}'. Choose one of its classes."
        )
    return _keep(works, "stop-rule", body, by=who.name)


@router.get("/settings/station")
def station(works: Works, who: Reader) -> StationPreferences:
    """What this station offers first."""
    return _kept(works, "station", StationPreferences)


@router.put("/settings/station")
def set_station(body: StationPreferences, works: Works, who: Admin) -> StationPreferences:
    """Change it."""
    return _keep(works, "station", body, by=who.name)


def _calibrations(works: Services) -> dict[str, EyepieceCalibration]:
    text = works.store.setting("eyepiece")
    return {} if text is None else _CALIBRATIONS.validate_json(text)


@router.get("/eyepiece")
def eyepiece(works: Works, who: Reader) -> list[EyepieceCalibration]:
    """How the picture lies on the eyepiece display, for every objective that was calibrated."""
    return sorted(_calibrations(works).values(), key=lambda c: c.objective)


@router.put("/eyepiece/{objective}")
def calibrate_eyepiece(
    objective: Annotated[str, Path(min_length=1, max_length=32, pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._-]*$")],
    body: Calibration,
    works: Works,
    who: Technician,
) -> EyepieceCalibration:
    """Keep a calibration; one that was there is replaced."""
    made = EyepieceCalibration(
        objective=objective,
        homography=body.homography,
        target=body.target,
        saved_at=datetime.now(UTC),
        saved_by=who.name,
    )
    with _one_at_a_time:
        all_of_them = _calibrations(works) | {objective: made}
        works.store.set_setting("eyepiece", _CALIBRATIONS.dump_json(all_of_them).decode(), by=who.name)
    return made
