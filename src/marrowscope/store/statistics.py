"""The archive in numbers, from its counters: quick, however many cells there are."""

from sqlalchemy import func, select

from marrowscope.store.base import Base
from marrowscope.store.tables import PatientRow, SpecimenRow, TotalRow, WorkRow
from marrowscope.store.values import ArchiveStatistics


class Statistics(Base):
    """The part of the archive that counts."""

    def statistics(self) -> ArchiveStatistics:
        """Everything counted."""
        columns = (SpecimenRow.slides, SpecimenRow.fields, SpecimenRow.cells, SpecimenRow.reviewed, SpecimenRow.reports)
        sums = (func.coalesce(func.sum(column), 0) for column in columns)
        totals_of = select(TotalRow.called, TotalRow.code, TotalRow.counting, TotalRow.reviewed)
        with self._reading() as connection:
            patients = connection.execute(select(func.count()).select_from(PatientRow)).scalar_one()
            specimens, *totals = connection.execute(select(func.count(SpecimenRow.id), *sums)).one()
            rows = connection.execute(totals_of.order_by(TotalRow.called, TotalRow.code)).all()
            work = connection.execute(select(WorkRow.who, WorkRow.kind, WorkRow.edits).order_by(WorkRow.who)).all()
        by_code: dict[str, int] = {}
        renamed: dict[tuple[str, str], int] = {}
        by_user: dict[str, dict[str, int]] = {}
        for called, code, counting, seen in rows:
            if counting:
                by_code[code] = by_code.get(code, 0) + int(counting)
            if called and seen:
                renamed[called, code] = int(seen)
        for who, kind, edits in work:
            by_user.setdefault(who, {})[kind] = edits
        slides, fields, cells, reviewed, reports = (int(total) for total in totals)
        return ArchiveStatistics(
            patients=patients,
            specimens=specimens,
            slides=slides,
            fields=fields,
            cells=cells,
            reviewed=reviewed,
            reports=reports,
            by_code=dict(sorted(by_code.items())),
            renamed=renamed,
            by_user=by_user,
        )
