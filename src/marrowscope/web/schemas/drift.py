"""Whether kept fields look like those that the model in service learned from."""

from typing import Literal

from marrowscope.web.schemas.common import Answer


class Percentiles(Answer):
    """5th, 50th and 95th percentile of fields."""

    low: float
    middle: float
    high: float


class DriftStatistic(Answer):
    """One statistic of fields: how they look, or what is found in them. usual: of training. incoming: of kept fields.

    away: of their median from that of training; beyond 1 it is outside the central 90 % of training fields.
    """

    name: str
    kind: Literal["looks", "finds"]
    usual: Percentiles
    incoming: Percentiles
    away: float
    drifted: bool


class DriftOutlook(Answer):
    """verdict, advice: in words; advice is empty where nothing is to be done. fields: so many kept ones were looked at.

    known: whether the model in service knows what its training fields look like; where not, there are no statistics.
    """

    alarm: bool
    known: bool
    verdict: str
    advice: str
    fields: int
    statistics: list[DriftStatistic]
