"""What cells add up to: the differential of a case beside its reference ranges, and whether it is enough."""

import json
import math

from marrowscope.cells.differential import Differential, Share
from marrowscope.cells.indices import Index as MarrowIndex
from marrowscope.cells.indices import indices
from marrowscope.cells.reference import Flagged, ReferenceRanges, ReferenceSets, Usual, default_references, flag
from marrowscope.cells.stop_rule import StopRule, StopVerdict
from marrowscope.web.schemas.live import Tally
from marrowscope.web.schemas.review import (
    ClassShare,
    CutOff,
    DifferentialClass,
    DifferentialView,
    Flagging,
    Index,
    LineageShare,
    ReferenceRange,
    Verdict,
)
from marrowscope.web.services import Services


def references_of(works: Services) -> ReferenceSets:
    """The laboratory's reference ranges; where it has set none, those that come along."""
    text = works.store.setting("references")
    return default_references() if text is None else ReferenceSets((ReferenceRanges.from_dict(json.loads(text)),))


def stop_rule_of(works: Services) -> StopRule:
    """The laboratory's stop rule."""
    text = works.store.setting("stop-rule")
    return StopRule() if text is None else StopRule.from_dict(json.loads(text))


def _counted(works: Services, counts: dict[str, tuple[int, int]]) -> Differential:
    """The differential of a case from the archive's counters. A class that the scheme lost since stands in its bucket."""
    numbers = [0] * len(works.scheme)
    for code, (n, _) in counts.items():
        if (label := works.scheme.find(code)) is not None:
            numbers[label] += n
    return Differential(works.scheme, tuple(numbers))


def tally(differential: Differential) -> Tally:
    """A count of classes that were seen, with intervals."""
    return Tally(
        total=differential.total,
        classes=[
            ClassShare(code=c.code, name=c.name, lineage=c.lineage, **_share(share))
            for c, share in differential.classes
            if share.count
        ],
        uncounted={c.code: n for c, n in differential.uncounted},
    )


def tally_of_case(works: Services, specimen_id: int) -> tuple[Tally, Verdict]:
    """The cells of the kept fields of a case, and whether they are enough."""
    differential = _counted(works, works.store.counts(specimen_id))
    fields = works.store.summary(specimen_id).fields
    return tally(differential), _verdict(stop_rule_of(works).judge(differential, fields))


def differential_view(works: Services, specimen_id: int) -> DifferentialView:
    """The differential of a case as it stands."""
    counts = works.store.counts(specimen_id)
    differential = _counted(works, counts)
    sets = references_of(works)
    reviewed = {code: seen for code, (_, seen) in counts.items()}
    classes = []
    for cell, share in differential.classes:
        usual = sets.of_codes([cell.code])
        classes.append(
            DifferentialClass(
                code=cell.code,
                name=cell.name,
                lineage=cell.lineage,
                reviewed=reviewed.get(cell.code, 0),
                **_share(share),
                **_beside(share.percent, share.interval, usual),
            )
        )
    lineages = [
        LineageShare(lineage=x, **_share(share), **_beside(share.percent, share.interval, sets.of_lineage(x)))
        for x, share in differential.lineages
    ]
    counted = {cell.code for cell in works.scheme if cell.counted}
    return DifferentialView(
        total=differential.total,
        reviewed=sum(n for code, n in reviewed.items() if code in counted),
        classes=classes,
        lineages=lineages,
        uncounted={c.code: n for c, n in differential.uncounted},
        indices=[_index(index, sets) for index in indices(differential)],
        verdict=_verdict(stop_rule_of(works).judge(differential, works.store.summary(specimen_id).fields)),
        warnings=[warning.text for warning in works.review.warnings(specimen_id)],
    )


def _share(share: Share) -> dict[str, float | int | None]:
    low, high = share.interval
    return {"count": share.count, "percent": share.percent, "low": low, "high": high}


def _beside(value: float | None, interval: tuple[float, float], usual: Usual | None) -> dict[str, object]:
    """Reference range, flag and whether the flag is certain."""
    found: Flagged | None = flag(value, interval, usual.range if usual else None)
    reference = None
    if usual is not None:
        r = usual.range
        reference = ReferenceRange(low=r.low, high=r.high, typical=r.typical, text=r.text, source=usual.set.name)
    return {
        "reference": reference,
        "flag": None if found is None else Flagging(found.flag),
        "certain": found is not None and found.certain,
    }


def _index(index: MarrowIndex, sets: ReferenceSets) -> Index:
    low, high = index.interval
    return Index(
        key=index.key,
        name=index.name,
        formula=index.formula,
        value=index.value,
        low=low if math.isfinite(low) else None,
        high=high if math.isfinite(high) else None,
        text=str(index),
        source=index.source,
        **_beside(index.value, index.interval, sets.of_index(index.key)),
    )


def _verdict(verdict: StopVerdict) -> Verdict:
    cutoffs = []
    for v in verdict.cutoffs:
        low, high = v.share.interval
        cutoffs.append(
            CutOff(name=v.name, percent=v.share.percent, low=low, high=high, at=v.at, clear=v.clear, text=v.text)
        )
    return Verdict(stop=verdict.stop, reasons=list(verdict.reasons), cutoffs=cutoffs)
