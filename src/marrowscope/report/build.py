"""Put a report together from plain values. Pure: no clock, no archive; the same values give the same content.

Numbers come from `cells`: shares and intervals from the differential, indices, stop rule, reference ranges. What is
added here is which of them a reader sees, and what the reader is warned of.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from marrowscope.cells.differential import Differential, Share
from marrowscope.cells.indices import Index, Myeloid, indices
from marrowscope.cells.reference import ReferenceSets, Usual, flag
from marrowscope.cells.specimen import Cell, KeptField, ModelVersion, Slide, Specimen
from marrowscope.cells.stop_rule import StopRule, StopVerdict
from marrowscope.cells.taxonomy import CellClass, Taxonomy
from marrowscope.report import content as c
from marrowscope.report.words import chinese_name

MANY_UNIDENTIFIED = 0.05
"""Share of unidentified cells from which every other percentage is noticeably too low."""


@dataclass(frozen=True)
class Words:
    """What a person writes, and which pictures are chosen. fields, gallery: ids of fields and of cells."""

    conclusion: str = ""
    comments: str = ""
    language: c.Language = c.Language.ENGLISH
    fields: tuple[int, ...] = ()
    gallery: tuple[int, ...] = ()


@dataclass(frozen=True)
class Rules:
    """What a laboratory decided: letterhead, reference ranges, when to stop, what is myeloid.

    complaints: settings that could not be used and were left out; the report says so.
    """

    letterhead: c.Letterhead = field(default_factory=c.Letterhead)
    references: ReferenceSets = field(default_factory=ReferenceSets)
    stop_rule: StopRule = field(default_factory=StopRule)
    myeloid: Myeloid = Myeloid.GRANULOCYTES
    complaints: tuple[str, ...] = ()


@dataclass(frozen=True)
class CaseFacts:
    """A case as the archive has it.

    counts: class code -> (cells that count, those of them that were reviewed). models: every version that looked at a
    field. cells: of every field that is shown, and those of the gallery, by id.
    """

    specimen: Specimen
    slides: Sequence[Slide]
    fields: Sequence[KeptField]
    counts: Mapping[str, tuple[int, int]]
    models: Sequence[ModelVersion] = ()
    field_cells: Mapping[int, Sequence[Cell]] = field(default_factory=dict)
    gallery_cells: Sequence[Cell] = ()


@dataclass(frozen=True)
class Count:
    """The counts of a case in the order of the scheme. unknown: codes that the scheme no longer has, and no bucket."""

    differential: Differential
    reviewed: tuple[int, ...]
    unknown: tuple[tuple[str, int], ...]


def count_cells(counts: Mapping[str, tuple[int, int]], scheme: Taxonomy) -> Count:
    """Counts by code -> differential. A code that the scheme does not have goes to its bucket (`other`)."""
    cells, reviewed, unknown = [0] * len(scheme), [0] * len(scheme), []
    for code, (n, seen) in counts.items():
        label = scheme.find(code)
        if label is None:
            unknown.append((code, n))
        else:
            cells[label] += n
            reviewed[label] += seen
    return Count(Differential(scheme, tuple(cells)), tuple(reviewed), tuple(unknown))


def build_content(
    facts: CaseFacts,
    words: Words,
    rules: Rules,
    scheme: Taxonomy,
    *,
    made_at: datetime,
    software: str,
    version: int = 1,
    amendment: c.Amendment | None = None,
    signature: c.Signature | None = None,
) -> c.ReportContent:
    """The report of a case. software: version of marrowscope. version: of the report, 1 for the first."""
    count = count_cells(facts.counts, scheme)
    differential, usual = count.differential, rules.references
    reviewed = {cell.code: n for cell, n in zip(scheme, count.reviewed, strict=True)}
    counted_reviewed = sum(reviewed[cell.code] for cell, _ in differential.classes)
    verdict = rules.stop_rule.judge(differential, len(facts.fields))
    ratios = indices(differential, myeloid=rules.myeloid)
    return c.ReportContent(
        language=words.language,
        version=version,
        made_at=made_at,
        amendment=amendment,
        letterhead=rules.letterhead,
        specimen=_specimen_block(facts, differential.total, counted_reviewed),
        total=differential.total,
        classes=tuple(
            _class_line(cell, share, reviewed[cell.code], usual.of_codes((cell.code,)))
            for cell, share in differential.classes
        ),
        groups=_group_lines(differential, reviewed, usual),
        lineages=tuple(
            c.LineageLine(
                lineage=lineage,
                share=_share(
                    share,
                    sum(reviewed[x.code] for x, _ in differential.classes if x.lineage == lineage),
                    usual.of_lineage(lineage),
                ),
            )
            for lineage, share in differential.lineages
        ),
        uncounted=tuple(
            c.SeenLine(code=x.code, name=x.name, chinese=chinese_name(x), snomed_ct=x.snomed_ct, count=n)
            for x, n in differential.uncounted
        ),
        indices=tuple(_index_line(index, usual.of_index(index.key)) for index in ratios),
        verdict=_verdict_block(verdict, rules.stop_rule),
        cautions=cautions(count, rules, len(facts.slides)),
        pictures=_pictures(facts, words),
        gallery=_gallery(facts, words),
        conclusion=words.conclusion,
        comments=words.comments,
        method=_method(facts, scheme, software),
        references=tuple(c.SourceLine(name=s.name, source=s.source, dated=s.dated, note=s.note) for s in usual.sets),
        signature=signature,
    )


def cautions(count: Count, rules: Rules, slides: int) -> tuple[c.Caution, ...]:
    """What to warn a reader of: few cells, what nobody looked at, many unidentified, one smear only."""
    differential, kind = count.differential, c.CautionKind
    total, scheme = differential.total, differential.taxonomy
    found = []
    if total < rules.stop_rule.cells:
        found.append(c.Caution(kind=kind.FEW_CELLS, count=total, total=rules.stop_rule.cells))
    if slides == 1:
        found.append(c.Caution(kind=kind.ONE_SLIDE, count=1, total=2))
    seen = dict(zip((x.code for x in scheme), count.reviewed, strict=True))
    left = sum(share.count - seen[x.code] for x, share in differential.classes)
    if left:
        found.append(c.Caution(kind=kind.CELLS_UNREVIEWED, count=left, total=total))
    # Where nobody reviewed anything, that has been said.
    found += [
        c.Caution(kind=kind.CLASS_UNREVIEWED, about=x.code, count=share.count, total=share.count)
        for x, share in differential.classes
        if share.count and not seen[x.code] and left < total
    ]
    if scheme.other is not None and scheme[scheme.index(scheme.other)].counted:
        nameless = differential.counts[scheme.index(scheme.other)]
        if total and nameless / total > MANY_UNIDENTIFIED:
            found.append(c.Caution(kind=kind.MANY_UNIDENTIFIED, about=scheme.other, count=nameless, total=total))
    found += [c.Caution(kind=kind.UNKNOWN_CLASS, about=code, count=n, total=n) for code, n in count.unknown]
    found += [c.Caution(kind=kind.SETTING, about=text) for text in rules.complaints]
    return tuple(found)


def _rounded(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else round(float(value), 6)


def _share(share: Share, reviewed: int, usual: Usual | None) -> c.ShareLine:
    low, high = share.interval
    return c.ShareLine(
        count=share.count,
        reviewed=reviewed,
        percent=_rounded(share.percent),
        low=round(low, 6),
        high=round(high, 6),
        usual=_usual_range(usual),
        flagged=_flagged(share.percent, (low, high), usual),
    )


def _usual_range(usual: Usual | None) -> c.UsualRange | None:
    if usual is None:
        return None
    r = usual.range
    return c.UsualRange(low=r.low, high=r.high, typical=r.typical, text=r.text, source=usual.set.name)


def _flagged(value: float | None, interval: tuple[float, float], usual: Usual | None) -> c.Flagged | None:
    found = flag(value, interval, usual.range if usual else None)
    return None if found is None else c.Flagged(flag=found.flag, certain=found.certain)


def _class_line(cell: CellClass, share: Share, reviewed: int, usual: Usual | None) -> c.ClassLine:
    return c.ClassLine(
        code=cell.code,
        name=cell.name,
        chinese=chinese_name(cell),
        lineage=cell.lineage,
        stage=cell.stage,
        snomed_ct=cell.snomed_ct,
        cell_ontology=cell.cell_ontology,
        share=_share(share, reviewed, usual),
    )


def _group_lines(
    differential: Differential, reviewed: Mapping[str, int], references: ReferenceSets
) -> tuple[c.GroupLine, ...]:
    """A sum for every range that speaks of several classes, of those that the scheme has; in the first's lineage."""
    lines = []
    for usual in references.groups():
        members = [(x, share) for x, share in differential.classes if x.code in usual.range.codes]
        if members:
            share = Share(sum(s.count for _, s in members), differential.total)
            lines.append(
                c.GroupLine(
                    codes=tuple(x.code for x, _ in members),
                    name=usual.range.name or " + ".join(x.name for x, _ in members),
                    chinese=usual.range.chinese or "+".join(chinese_name(x) for x, _ in members),
                    lineage=members[0][0].lineage,
                    share=_share(share, sum(reviewed[x.code] for x, _ in members), usual),
                )
            )
    return tuple(lines)


def _index_line(index: Index, usual: Usual | None) -> c.IndexLine:
    low, high = index.interval
    return c.IndexLine(
        key=index.key,
        name=index.name,
        formula=index.formula,
        source=index.source,
        top=index.top,
        bottom=index.bottom,
        value=_rounded(index.value),
        low=round(low, 6),
        high=_rounded(high),
        usual=_usual_range(usual),
        flagged=_flagged(index.value, (low, high), usual),
    )


def _verdict_block(verdict: StopVerdict, rule: StopRule) -> c.VerdictBlock:
    lines = []
    for v in verdict.cutoffs:
        low, high = v.share.interval
        lines.append(
            c.CutOffLine(
                name=v.name,
                at=v.at,
                count=v.share.count,
                percent=_rounded(v.share.percent),
                low=round(low, 6),
                high=round(high, 6),
                standing=v.standing,
            )
        )
    return c.VerdictBlock(
        stop=verdict.stop,
        reasons=verdict.reasons,
        cutoffs=tuple(lines),
        cells=verdict.cells,
        fields=verdict.fields,
        planned_cells=rule.cells,
        limit_cells=rule.at_most,
        limit_fields=rule.fields,
    )


def _specimen_block(facts: CaseFacts, cells: int, reviewed: int) -> c.SpecimenBlock:
    s = facts.specimen
    return c.SpecimenBlock(
        id=s.id,
        code=s.code,
        patient_code=s.patient_code,
        material=s.material,
        taken_on=s.taken_on,
        slides=tuple(c.SlideLine(label=x.label, stain=x.stain) for x in facts.slides),
        fields=len(facts.fields),
        cells=cells,
        reviewed=reviewed,
    )


def _chosen(wanted: Iterable[int], known: Mapping[int, KeptField]) -> list[KeptField]:
    return [known[i] for i in dict.fromkeys(wanted) if i in known]


def _pictures(facts: CaseFacts, words: Words) -> tuple[c.FieldPicture, ...]:
    """The chosen fields, with every cell that was not removed; a choice that is gone from the case is left out."""
    labels = {slide.id: slide.label for slide in facts.slides}
    return tuple(
        c.FieldPicture(
            id=f.id,
            number=f.number,
            slide=labels.get(f.slide_id, ""),
            image=f.image,
            width=f.width,
            height=f.height,
            um_per_px=f.um_per_px,
            cells=tuple(
                c.Marked(box=_box(cell), code=cell.code, counted=cell.counts)
                for cell in facts.field_cells.get(f.id, ())
                if not cell.removed
            ),
        )
        for f in _chosen(words.fields, {f.id: f for f in facts.fields})
    )


def _gallery(facts: CaseFacts, words: Words) -> tuple[c.GalleryCell, ...]:
    fields = {f.id: f for f in facts.fields}
    cells = {cell.id: cell for cell in facts.gallery_cells if not cell.removed and cell.field_id in fields}
    shown = [cells[i] for i in dict.fromkeys(words.gallery) if i in cells]
    return tuple(
        c.GalleryCell(
            id=cell.id,
            code=cell.code,
            field_number=fields[cell.field_id].number,
            image=fields[cell.field_id].image,
            width=fields[cell.field_id].width,
            height=fields[cell.field_id].height,
            um_per_px=fields[cell.field_id].um_per_px,
            box=_box(cell),
            reviewed=cell.reviewed,
        )
        for cell in shown
    )


def _box(cell: Cell) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = (round(float(edge), 2) for edge in cell.box)
    return x1, y1, x2, y2


def _method(facts: CaseFacts, scheme: Taxonomy, software: str) -> c.MethodBlock:
    looked = [f.model_id for f in facts.fields]
    return c.MethodBlock(
        software="marrowscope",
        version=software,
        scheme=scheme.name,
        models=tuple(
            c.ModelLine(name=m.name, digest=m.digest, scheme=m.scheme, fields=looked.count(m.id))
            for m in facts.models
            if m.id in looked
        ),
        fields_without_model=looked.count(None),
    )
