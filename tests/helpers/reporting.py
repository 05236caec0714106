"""Report contents of any size, from plain values and drawn fields."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import cache

import cv2
import numpy as np

from marrowscope.cells.reference import default_references
from marrowscope.cells.specimen import Box, Cell, KeptField, ModelVersion, Slide, Specimen, SpecimenState
from marrowscope.cells.taxonomy import Taxonomy, load_taxonomy
from marrowscope.report.build import CaseFacts, Rules, Words, build_content
from marrowscope.report.content import Amendment, Language, Letterhead, ReportContent, Signature
from marrowscope.report.pictures import Assets
from marrowscope.smear.field import draw_field

NOW = datetime(2026, 5, 4, 9, 30, 15, tzinfo=UTC)
CLINICAL = load_taxonomy("clinical")
FEW = CLINICAL.keep(CLINICAL.index(code) for code in ("MYELO", "LYM", "NEU_SEG", "NORMO_POLY", "SMUDGE"))
"""A scheme whose reports are quickly read back."""
FEW_COUNTS = {"MYELO": 400, "LYM": 55, "NEU_SEG": 30, "NORMO_POLY": 70, "SMUDGE": 9}
LAB = Letterhead(
    laboratory="Musterstadt University Hospital",
    department="Department of Haematology, marrow cytology",
    address="Am Hügel 3\n01234 Musterstadt",
    telephone="+49 30 1234567",
    email="marrow@example.org",
    accreditation="ISO 15189: D-ML-00000",
)
USUAL = {
    "MYELOBLAST": 8,
    "PROMYELO": 17,
    "MYELO": 70,
    "META": 78,
    "BAND": 92,
    "NEU_SEG": 60,
    "EOS_SEG": 12,
    "EOS_MYELO": 2,
    "BASO": 1,
    "PROERYTHRO": 3,
    "NORMO_BASO": 10,
    "NORMO_POLY": 78,
    "NORMO_ORTHO": 32,
    "LYM": 48,
    "MONO": 9,
    "PLASMA": 7,
    "OTHER": 6,
    "MEGAKARYO": 4,
    "SMUDGE": 21,
}
SIGNATURE = Signature(
    name="Dr. Wei Chen",
    user="chen",
    role="haematologist",
    at=NOW,
    local="2026-05-04 11:30:15 +02:00",
    meaning="Reviewed and approved",
)
AMENDMENT = Amendment(
    replaces=1, signed_at=datetime(2026, 5, 1, 8, 0, tzinfo=UTC), signer="Dr. Wei Chen", reason="Slide B was added"
)


@cache
def drawn_field(seed: int, width: int = 1200, height: int = 900) -> tuple[bytes, tuple[Box, ...], tuple[str, ...]]:
    """JPEG of a synthetic field, its boxes and the codes of its cells."""
    field, truth = draw_field(seed, width=width, height=height, um_per_px=0.11)
    pixels = field.pixels
    data = bytes(cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 92])[1])
    boxes = tuple((float(a), float(b), float(c), float(d)) for a, b, c, d in truth.boxes)
    return data, boxes, tuple(truth.taxonomy[int(x)].code for x in truth.labels)


def specimen(code: str = "KM-2026-0417", patient: str = "P-20931") -> Specimen:
    return Specimen(7, code, patient, "marrow aspirate", date(2026, 5, 3), "", SpecimenState.OPEN, NOW, "liu")


def slides(*labels: str) -> list[Slide]:
    return [Slide(n, 7, label, "Wright") for n, label in enumerate(labels, 1)]


def kept_fields(images: Sequence[str], *, slide_id: int = 1, size: tuple[int, int] = (1200, 900)) -> list[KeptField]:
    return [
        KeptField(n, 7, slide_id, n, image, size[0], size[1], 0.1, None, None, None, 40.0, 1, NOW, "liu")
        for n, image in enumerate(images, 1)
    ]


MODEL = ModelVersion(1, "light-2026-05", "ab12" * 16, "clinical", "models/2026-05/best", "", True, NOW)


def facts(
    counts: Mapping[str, int] | None = None, *, reviewed: float = 1.0, seeds: Sequence[int] = (), more_fields: int = 40
) -> tuple[CaseFacts, Assets]:
    """A case with these counts; its first fields are drawn from the seeds, and its cells shown."""
    given = USUAL if counts is None else counts
    pictures = [drawn_field(seed) for seed in seeds]
    digests = [hashlib.sha256(data).hexdigest() for data, _, _ in pictures]
    fields = kept_fields(digests + [f"{n:064x}" for n in range(more_fields)])
    cells: dict[int, list[Cell]] = {}
    number = 0
    for field, (_, boxes, codes) in zip(fields, pictures, strict=False):
        for box, code in zip(boxes, codes, strict=True):
            number += 1
            same = None if number % 13 else 1
            cells.setdefault(field.id, []).append(
                Cell(number, 7, field.id, box, code, code, 0.9, 0.1, number % 7 != 0, False, same)
            )
    found = CaseFacts(
        specimen(),
        slides("A", "B"),
        fields,
        {code: (n, round(n * reviewed)) for code, n in given.items()},
        [MODEL],
        cells,
        [cell for some in cells.values() for cell in some],
    )
    return found, Assets({digest: data for digest, (data, _, _) in zip(digests, pictures, strict=True)})


def content(
    case: CaseFacts,
    *,
    words: Words | None = None,
    rules: Rules | None = None,
    scheme: Taxonomy = CLINICAL,
    language: Language = Language.ENGLISH,
    signature: Signature | None = None,
    amendment: Amendment | None = None,
) -> ReportContent:
    said = words or Words(conclusion="Normocellular marrow, all three lineages maturing.")
    return build_content(
        case,
        replace(said, language=language),
        rules or Rules(LAB, default_references()),
        scheme,
        made_at=NOW,
        software="0.1.0",
        version=2 if amendment else 1,
        signature=signature,
        amendment=amendment,
    )


def logo() -> bytes:
    """A small PNG."""
    pixels = np.full((60, 120, 3), 255, np.uint8)
    cv2.circle(pixels, (30, 30), 26, (120, 40, 40), -1)
    cv2.circle(pixels, (70, 30), 18, (60, 60, 160), -1)
    return bytes(cv2.imencode(".png", pixels)[1])
