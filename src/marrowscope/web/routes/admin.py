"""People, the audit trail, models, retraining, figures."""

import secrets
from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Path, Query

from marrowscope.station.retraining import export_reviewed
from marrowscope.web.permissions import Admin, Reader, Technician
from marrowscope.web.routes.parts import Limit, Offset, PathId
from marrowscope.web.schemas.admin import (
    AuditEntry,
    AuditPage,
    CountOf,
    Integrity,
    Lesson,
    ModelVersion,
    Promotion,
    Renaming,
    RetrainingSet,
    RetrainingWish,
    Statistics,
    Teachable,
    WorkOf,
)
from marrowscope.web.schemas.common import LINE, WORD
from marrowscope.web.schemas.people import NewPerson, Person, PersonChange
from marrowscope.web.services import Works

router = APIRouter(tags=["admin"])
PersonName = Annotated[str, Path(min_length=1, max_length=64, pattern=WORD)]


@router.get("/users")
def users(works: Works, who: Admin) -> list[Person]:
    """Everybody, active or not."""
    return [Person.model_validate(u) for u in works.store.users()]


@router.post("/users", status_code=201)
def add_user(body: NewPerson, works: Works, who: Admin) -> Person:
    """Add a person. 409 where the name is taken."""
    hashed = works.passwords.hash(body.password)
    return Person.model_validate(works.store.add_user(body.name, body.full_name, body.role, hashed, by=who.name))


@router.patch("/users/{name}")
def change_user(name: PersonName, body: PersonChange, works: Works, who: Admin) -> Person:
    """Change role, name or password, or shut out. 409 for the last active admin."""
    store = works.store
    store.user(name)
    if body.full_name is not None:
        store.set_full_name(name, body.full_name, by=who.name)
    if body.password is not None:
        store.set_password_hash(name, works.passwords.hash(body.password), by=who.name)
        works.gate.passed(name, datetime.now(UTC))
    if body.role is not None:
        store.set_role(name, body.role, by=who.name)
    if body.active is not None:
        store.set_active(name, body.active, by=who.name)
    return Person.model_validate(store.user(name))


@router.get("/audit")
def audit(
    works: Works,
    who: Admin,
    limit: Limit = 100,
    offset: Offset = 0,
    subject: Annotated[str | None, Query(max_length=100, pattern=LINE)] = None,
) -> AuditPage:
    """The audit trail, newest first; subject: of this thing alone, such as `specimen/7`."""
    entries, total = works.store.audit(limit, offset, subject)
    items = [AuditEntry.model_validate(entry) for entry in entries]
    return AuditPage(items=items, total=total, more=offset + len(items) < total)


@router.post("/audit/verify")
def verify_audit(works: Works, who: Admin) -> Integrity:
    """Check the whole archive: the chain, the rows, every picture. Takes a while."""
    found = works.store.verify()
    return Integrity(
        ok=found.ok,
        problems=list(found.problems),
        checked=found.checked,
        orphans=len(found.orphans),
        digest=found.digest,
    )


@router.get("/models")
def models(works: Works, who: Reader) -> list[ModelVersion]:
    """The detectors that the archive knows."""
    return [ModelVersion.model_validate(model) for model in works.store.models()]


@router.post("/models/{model_id}/promote")
def promote_model(model_id: PathId, body: Promotion, works: Works, who: Admin) -> list[ModelVersion]:
    """Let this model look at new fields from now on (a live microscope: from its next start)."""
    works.store.promote(model_id, by=who.name, why=body.why)
    return models(works, who)


@router.get("/models/teachable")
def teachable(works: Works, who: Reader) -> list[Teachable]:
    """Classes of the scheme that the model in service does not know, and how many cells people named so."""
    return [Teachable.model_validate(entry) for entry in works.teaching.teachable()]


@router.post("/models/teach", status_code=201)
def teach(body: Lesson, works: Works, who: Technician) -> ModelVersion:
    """Make a candidate that knows a class more, from the cells that people named so; it serves once it is promoted.

    Takes seconds; with fields to compare models on, as long as both need for these.
    """
    return ModelVersion.model_validate(works.teaching.teach(body.code, by=who.name))


@router.post("/retraining")
def export_retraining(body: RetrainingWish, works: Works, who: Admin) -> RetrainingSet:
    """Write the fields that are reviewed throughout as a labelled folder in the station's home."""
    folder = works.home / "exports" / f"reviewed-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"
    made = export_reviewed(works.store, folder, scheme=works.scheme, specimens=body.specimens)
    return RetrainingSet(folder=str(made.folder), fields=made.fields, cells=made.cells)


@router.get("/statistics")
def statistics(works: Works, who: Reader) -> Statistics:
    """The archive in figures."""
    found = works.store.statistics()
    names = {cell.code: cell.name for cell in works.scheme}
    return Statistics(
        patients=found.patients,
        specimens=found.specimens,
        slides=found.slides,
        fields=found.fields,
        cells=found.cells,
        reviewed=found.reviewed,
        reports=found.reports,
        by_code=[CountOf(code=c, name=names.get(c, c), cells=n) for c, n in found.by_code.items()],
        renamings=[Renaming(called=a, renamed=b, count=n) for (a, b), n in found.renamed.items()],
        people=[WorkOf(user=user, edits=edits) for user, edits in found.by_user.items()],
    )
