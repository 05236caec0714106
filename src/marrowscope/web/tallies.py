"""What cells add up to: the differential of a case, with the numbers and in the words of its report."""

from marrowscope.cells.differential import Differential
from marrowscope.cells.taxonomy import Lineage
from marrowscope.report import content as c
from marrowscope.report.words import cutoff_text
from marrowscope.web.schemas.live import Tally
from marrowscope.web.schemas.review import (
    ClassShare,
    CutOff,
    DifferentialClass,
    DifferentialView,
    Flagging,
    GroupShare,
    Index,
    LineageShare,
    ReferenceRange,
    Verdict,
)
from marrowscope.web.services import Services


def tally(differential: Differential) -> Tally:
    """A count of classes that were seen, with intervals."""
    classes = []
    for cell, share in differential.classes:
        if share.count:
            low, high = share.interval
            said = {"count": share.count, "percent": share.percent, "low": low, "high": high}
            classes.append(ClassShare(code=cell.code, name=cell.name, lineage=cell.lineage, **said))
    return Tally(
        total=differential.total, classes=classes, uncounted={cell.code: n for cell, n in differential.uncounted}
    )


def tally_of_case(works: Services, specimen_id: int) -> tuple[Tally, Verdict]:
    """The cells of the kept fields of a case, and whether they are enough."""
    content = works.signout.summary(specimen_id).content
    classes = [
        ClassShare(code=x.code, name=x.name, lineage=x.lineage, **_counted(x.share))
        for x in content.classes
        if x.share.count
    ]
    kept = Tally(total=content.total, classes=classes, uncounted={x.code: x.count for x in content.uncounted})
    return kept, _verdict(content.verdict)


def differential_view(works: Services, specimen_id: int) -> DifferentialView:
    """The differential of a case as it stands."""
    summary = works.signout.summary(specimen_id)
    content = summary.content
    return DifferentialView(
        total=content.total,
        reviewed=sum(x.share.reviewed for x in content.classes),
        classes=[
            DifferentialClass(
                code=x.code,
                name=x.name,
                lineage=x.lineage,
                reviewed=x.share.reviewed,
                **_counted(x.share),
                **_beside(x.share.usual, x.share.flagged),
            )
            for x in content.classes
        ],
        groups=[
            GroupShare(
                codes=list(x.codes), lineage=x.lineage, **_counted(x.share), **_beside(x.share.usual, x.share.flagged)
            )
            for x in content.groups
        ],
        lineages=[
            LineageShare(lineage=Lineage(x.lineage), **_counted(x.share), **_beside(x.share.usual, x.share.flagged))
            for x in content.lineages
        ],
        uncounted={x.code: x.count for x in content.uncounted},
        indices=[_index(x) for x in content.indices],
        verdict=_verdict(content.verdict),
        warnings=list(summary.warnings),
    )


def _counted(share: c.ShareLine) -> dict[str, float | int | None]:
    return {"count": share.count, "percent": share.percent, "low": share.low, "high": share.high}


def _beside(usual: c.UsualRange | None, flagged: c.Flagged | None) -> dict[str, object]:
    """Reference range, flag and whether the flag is certain."""
    reference = None
    if usual is not None:
        reference = ReferenceRange(
            low=usual.low, high=usual.high, typical=usual.typical, text=usual.text, source=usual.source
        )
    return {
        "reference": reference,
        "flag": None if flagged is None else Flagging(flagged.flag),
        "certain": flagged is not None and flagged.certain,
    }


def _index(line: c.IndexLine) -> Index:
    high = "no upper end" if line.high is None else f"{line.high:.2f}"
    return Index(
        key=line.key,
        name=line.name,
        formula=line.formula,
        value=line.value,
        low=line.low,
        high=line.high,
        text="-" if line.value is None else f"{line.value:.2f} ({line.low:.2f}-{high})",
        source=line.source,
        **_beside(line.usual, line.flagged),
    )


def _verdict(verdict: c.VerdictBlock) -> Verdict:
    cutoffs = [
        CutOff(
            name=x.name,
            percent=x.percent,
            low=x.low,
            high=x.high,
            at=x.at,
            clear=x.standing != "straddles",
            text=cutoff_text(x).en,
        )
        for x in verdict.cutoffs
    ]
    return Verdict(stop=verdict.stop, reasons=list(verdict.reasons), cutoffs=cutoffs)
