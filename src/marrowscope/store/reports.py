"""Drafts, signatures, amendments. A signed report is written once; its specimen is locked until it is amended."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from marrowscope.cells.specimen import SignedReport, SpecimenState
from marrowscope.errors import Conflict, NotFound
from marrowscope.store import intake, trail
from marrowscope.store.base import Base, about, require_unlocked, state_of
from marrowscope.store.cellbook import class_counts
from marrowscope.store.people import find_user
from marrowscope.store.pixels import digest_of_bytes, require_pdf
from marrowscope.store.tables import DraftRow, ReportRow, SpecimenRow

_REPORT: tuple[Any, ...] = (
    ReportRow.id,
    ReportRow.specimen_id,
    ReportRow.version,
    ReportRow.content,
    ReportRow.pdf,
    ReportRow.signed_at,
    ReportRow.signed_by,
    ReportRow.signer,
    ReportRow.meaning,
    ReportRow.amends,
    ReportRow.reason,
)
_LONGEST_CONTENT = 10_000_000


def report_seal(report: SignedReport) -> str:
    """The digest that holds a signed report to the audit trail."""
    values = {**vars(report), "signed_at": trail.stamp(report.signed_at)}
    return trail.seal(values)


def all_reports(connection: Connection) -> list[SignedReport]:
    """Every signed report of the archive, by id."""
    return [SignedReport(*row) for row in connection.execute(select(*_REPORT).order_by(ReportRow.id))]


class Reports(Base):
    """The part of the archive that keeps reports."""

    def draft(self, specimen_id: int) -> str | None:
        """The JSON that was saved last for the next report of a case, if any was."""
        with self._reading() as connection:
            state_of(connection, specimen_id)
            return connection.execute(select(DraftRow.content).where(DraftRow.specimen_id == specimen_id)).scalar()

    def save_draft(self, specimen_id: int, content: str, *, by: str, now: datetime | None = None) -> None:
        """Keep what the next report is to say. Locked where the specimen is signed."""
        content = intake.text(content, "draft", longest=_LONGEST_CONTENT)
        with self._writing(by, now) as change:
            require_unlocked(change.connection, specimen_id)
            mine = DraftRow.specimen_id == specimen_id
            old = change.connection.execute(select(DraftRow.content).where(mine)).scalar()
            values = {"content": content, "at": change.at, "who": by}
            if old is None:
                change.connection.execute(insert(DraftRow).values(specimen_id=specimen_id, **values))
            else:
                change.connection.execute(update(DraftRow).where(mine).values(values))
            # Conclusions are long and saved often, and may name a patient: the trail has their digests.
            digests = (None if text is None else digest_of_bytes(text.encode()) for text in (old, content))
            before, after = digests
            change.tell("report.draft", about("specimen", specimen_id), old=before, new=after)

    def sign(
        self,
        specimen_id: int,
        content: str,
        pdf: bytes,
        *,
        by: str,
        meaning: str,
        reason: str = "",
        counts: Mapping[str, tuple[int, int]] | None = None,
        now: datetime | None = None,
    ) -> SignedReport:
        """Keep a report as the next version, and lock the specimen. On return both are on disk to stay.

        content: canonical JSON. meaning: of the signature ("reviewed and approved"). reason: of an amendment; left
        out, it is the one that the amendment was begun with. counts: of cells by class, as `counts` gave them when
        the report was made. Locked where the specimen is signed already; Conflict where the counts are others by now.
        """
        require_pdf(pdf)
        content = intake.text(content, "report", longest=_LONGEST_CONTENT, empty=False)
        meaning, reason = intake.text(meaning, "meaning", empty=False), intake.text(reason, "reason")
        digest = self._pixels.keep(pdf)
        with self._writing(by, now) as change:
            require_unlocked(change.connection, specimen_id)
            if counts is not None and dict(counts) != class_counts(change.connection, specimen_id):
                raise Conflict(f"Specimen {specimen_id} was changed while it was signed. Look again, then sign.")
            mine = ReportRow.specimen_id == specimen_id
            last = change.connection.execute(
                select(ReportRow.id, ReportRow.version).where(mine).order_by(ReportRow.version.desc()).limit(1)
            ).one_or_none()
            begun = select(SpecimenRow.amending).where(SpecimenRow.id == specimen_id)
            reason = reason or change.connection.execute(begun).scalar_one()
            signer = find_user(change.connection, by)
            row = insert(ReportRow).values(
                specimen_id=specimen_id,
                version=last.version + 1 if last else 1,
                content=content,
                pdf=digest,
                signed_at=change.at,
                signed_by=by,
                signer=signer.full_name if signer else by,
                meaning=meaning,
                amends=last.id if last else None,
                reason=reason,
            )
            report = SignedReport(*change.connection.execute(row.returning(*_REPORT)).one())
            change.connection.execute(
                update(SpecimenRow)
                .where(SpecimenRow.id == specimen_id)
                .values(state=SpecimenState.SIGNED.value, amending="", reports=SpecimenRow.reports + 1)
            )
            told = {"report": report.id, "version": report.version, "pdf": digest, "meaning": meaning}
            told["seal"] = report_seal(report)
            change.tell("report.sign", about("specimen", specimen_id), new=told, why=reason)
        return report

    def note_sent(self, report_id: int, to: str, message: str, *, by: str, now: datetime | None = None) -> None:
        """Write down that a signed report was handed over. to: who took it; message: by which both sides know it."""
        to, message = intake.text(to, "receiver", empty=False), intake.text(message, "message", empty=False)
        with self._writing(by, now) as change:
            mine = ReportRow.id == intake.number_of(report_id, "report")
            found = change.connection.execute(
                select(ReportRow.specimen_id, ReportRow.version).where(mine)
            ).one_or_none()
            if found is None:
                raise NotFound(f"There is no report {report_id}.")
            told = {"report": report_id, "version": found.version, "to": to, "message": message}
            change.tell("report.send", about("specimen", found.specimen_id), new=told)

    def begin_amendment(self, specimen_id: int, reason: str, *, by: str, now: datetime | None = None) -> None:
        """Open a signed case again. Reports signed before stay as they are. Conflict where it is not signed."""
        reason = intake.text(reason, "reason", empty=False)
        with self._writing(by, now) as change:
            state = state_of(change.connection, specimen_id)
            if state is not SpecimenState.SIGNED:
                raise Conflict(f"Specimen {specimen_id} is {state.value}, not signed: there is nothing to amend.")
            change.connection.execute(
                update(SpecimenRow)
                .where(SpecimenRow.id == specimen_id)
                .values(state=SpecimenState.AMENDING.value, amending=reason)
            )
            states = {"old": state.value, "new": SpecimenState.AMENDING.value}
            change.tell("report.amend", about("specimen", specimen_id), **states, why=reason)

    def amendment_reason(self, specimen_id: int) -> str:
        """Why the case was opened again; empty while no amendment is under way. NotFound."""
        with self._reading() as connection:
            state_of(connection, specimen_id)
            begun = select(SpecimenRow.amending).where(SpecimenRow.id == specimen_id)
            return connection.execute(begun).scalar_one()

    def reports(self, specimen_id: int) -> list[SignedReport]:
        """Every signed version of a case, the first one first. NotFound without such a case."""
        with self._reading() as connection:
            state_of(connection, specimen_id)
            query = select(*_REPORT).where(ReportRow.specimen_id == specimen_id).order_by(ReportRow.version)
            return [SignedReport(*row) for row in connection.execute(query)]

    def report(self, report_id: int) -> SignedReport:
        """A signed report. NotFound."""
        wanted = ReportRow.id == intake.number_of(report_id, "report")
        with self._reading() as connection:
            row = connection.execute(select(*_REPORT).where(wanted)).one_or_none()
        if row is None:
            raise NotFound(f"There is no report {report_id}.")
        return SignedReport(*row)

    def newest_report(self, code: str) -> SignedReport:
        """The newest signed version of the specimen with this code. NotFound: no such specimen, or nobody signed it."""
        of_code = select(SpecimenRow.id).where(SpecimenRow.code == intake.text(code, "specimen code", longest=200))
        with self._reading() as connection:
            specimen_id = connection.execute(of_code).scalar()
        if specimen_id is None:
            raise NotFound(f"There is no specimen '{code}'. Write its code as the station shows it.")
        if not (signed := self.reports(specimen_id)):
            raise NotFound(f"Nobody signed a report of specimen '{code}' yet. A haematologist does, on its page.")
        return signed[-1]

    def report_pdf(self, report_id: int) -> bytes:
        """The PDF as it was signed, verified. ArchiveDamaged where the file is gone or is another by now."""
        return self._pixels.read(self.report(report_id).pdf)
