"""Do the newest kept fields look like those that the model in service learned from?"""

from fastapi import APIRouter

from marrowscope.station.drift import Outlook
from marrowscope.web.permissions import Reader
from marrowscope.web.schemas.drift import DriftOutlook, DriftStatistic, Percentiles
from marrowscope.web.services import Works

router = APIRouter(tags=["drift"])


@router.get("/drift")
def drift(works: Works, who: Reader) -> DriftOutlook:
    """The newest kept fields beside those of training. Quick, but for fields that nobody has asked about before."""
    return _view(works.drift.look())


def _view(outlook: Outlook) -> DriftOutlook:
    report = outlook.report
    statistics = [
        DriftStatistic(
            name=row.name,
            kind=row.kind,
            usual=_spread(row.usual),
            incoming=_spread(row.incoming),
            away=row.away,
            drifted=row.drifted,
        )
        for row in (() if report is None else report.rows)
    ]
    return DriftOutlook(
        alarm=outlook.alarm,
        known=report is not None,
        verdict=outlook.verdict(),
        advice=outlook.advice(),
        fields=0 if report is None else report.fields,
        statistics=statistics,
    )


def _spread(values: tuple[float, float, float]) -> Percentiles:
    low, middle, high = values
    return Percentiles(low=low, middle=middle, high=high)
