"""The cells of a whole slide as DICOM Microscopy Bulk Simple Annotations, by highdicom (extra `slides`).

One annotation group a class that was found, in the order of the scheme: the box of every cell as a polygon of four
corners, clockwise from the top left, in pixels of the total pixel matrix (level 0; 0, 0 is the top left corner of the
first pixel, as in marrowscope), and its score as a measurement. A group bears the class's code as its label, and
SNOMED CT's code as its property type where one is known, else marrowscope's own. Polygons rather than DICOM's
rectangles, because viewers know those for certain.

The file refers to the DICOM image that was looked at. Of a slide in another format there is none: the reference is then
to a stand-in whose UIDs are derived from the slide's name, size and scale (`stand_in`), the same every time, so that
whoever converts the slide to DICOM later can give it those.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from marrowscope.cells.detections import Detections
from marrowscope.cells.files import replacing
from marrowscope.cells.taxonomy import OWN_CODES, CellClass
from marrowscope.detect.palette import LINEAGE_COLOURS
from marrowscope.errors import BadInput, BadSlide, MissingExtra

if TYPE_CHECKING:
    from highdicom.ann import AnnotationGroup, MicroscopyBulkSimpleAnnotations
    from pydicom.dataset import Dataset
    from pydicom.sr.coding import Code

_NAMES = uuid.UUID("c2b8ef70-7f52-5d2a-9d42-6c1f6a0f3b9d")
_CORNERS = [0, 1, 2, 1, 2, 3, 0, 3]
_LONGEST = 64
# What a source image may leave out and its annotations must have, empty if need be.
_EMPTY = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "AccessionNumber", "StudyID", "StudyDate")
_EMPTY_TOO = ("StudyTime", "ReferringPhysicianName")


@dataclass(frozen=True)
class AnnotatedSlide:
    """The slide that the cells lie on. width, height: pixels of level 0. um_per_px: of level 0, None if unknown."""

    name: str
    width: int
    height: int
    um_per_px: float | None


@dataclass(frozen=True)
class Finder:
    """Who found the cells: the detector's name, and its version or digest."""

    name: str
    version: str


def write_bulk_annotations(
    path: Path,
    cells: Detections,
    slide: AnnotatedSlide,
    *,
    finder: Finder,
    made_at: datetime,
    source: "Dataset | None" = None,
) -> None:
    """`bulk_annotations` as a DICOM file, whole or not at all."""
    made = bulk_annotations(cells, slide, finder=finder, made_at=made_at, source=source)
    with replacing(path) as aside:
        made.save_as(aside, enforce_file_format=True)


def bulk_annotations(
    cells: Detections,
    slide: AnnotatedSlide,
    *,
    finder: Finder,
    made_at: datetime,
    source: "Dataset | None" = None,
) -> "MicroscopyBulkSimpleAnnotations":
    """The annotations of a slide. cells: boxes in pixels of level 0.

    source: the DICOM image that was looked at (`source_image`), None for a slide of another format. The same arguments
    give the same annotations. BadInput: there is no cell, which DICOM cannot say, or one lies outside the slide.
    """
    _check(cells, slide)
    try:
        from highdicom.ann import MicroscopyBulkSimpleAnnotations
        from highdicom.coding_schemes import CodingSchemeIdentificationItem
    except ImportError:
        raise MissingExtra(
            "DICOM annotations: highdicom is not installed. pip install 'marrowscope[slides]'."
        ) from None
    from pydicom.valuerep import DA, DT, TM

    image = stand_in(slide) if source is None else source
    at = made_at.astimezone(UTC)
    identity = (image.SOPInstanceUID, finder.name, finder.version, at.isoformat(), _digest(cells))
    made = MicroscopyBulkSimpleAnnotations(
        source_images=[image],
        annotation_coordinate_type="2D",
        annotation_groups=_groups(cells, finder, identity),
        series_instance_uid=_uid("series", *identity),
        series_number=1,
        sop_instance_uid=_uid("annotations", *identity),
        instance_number=1,
        manufacturer="marrowscope",
        manufacturer_model_name=_short(finder.name),
        software_versions=_short(finder.version),
        device_serial_number=_short(finder.version),
        content_label="MARROW_CELLS",
        content_description=f"{len(cells)} cells",
        specific_character_set="ISO_IR 192",
        content_date=at.date(),
        content_time=at.time(),
        series_description="Cells found by marrowscope",
        coding_schemes=[CodingSchemeIdentificationItem(OWN_CODES, name="codes of marrowscope")],
    )
    # What highdicom took from the clock.
    made.InstanceCreationDate, made.InstanceCreationTime = DA(at.date()), TM(at.time())
    made.TimezoneOffsetFromUTC = "+0000"
    for equipment in made.ContributingEquipmentSequence:
        if "ContributionDateTime" in equipment:
            equipment.ContributionDateTime = DT(at.strftime("%Y%m%d%H%M%S+0000"))
    return made


def source_image(files: Iterable[Path], slide: AnnotatedSlide) -> "Dataset":
    """The header of the DICOM instance that holds level 0 of the slide, of the files of its series.

    BadSlide where none of them is a whole-slide image of that size.
    """
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError
    from pydicom.uid import VLWholeSlideMicroscopyImageStorage

    for file in sorted(files):
        try:
            found = dcmread(file, stop_before_pixels=True)
        except (InvalidDicomError, OSError):
            continue
        size = (found.get("TotalPixelMatrixColumns"), found.get("TotalPixelMatrixRows"))
        if found.get("SOPClassUID") == VLWholeSlideMicroscopyImageStorage and size == (slide.width, slide.height):
            for keyword in (*_EMPTY, *_EMPTY_TOO):
                if keyword not in found:
                    setattr(found, keyword, "")
            return found
    raise BadSlide(
        f"{slide.name}: no DICOM whole-slide image of {slide.width} x {slide.height} pixels among its files. "
        "Give the files of the series that was looked at."
    )


def stand_in(slide: AnnotatedSlide) -> "Dataset":
    """What is referred to where the slide is no DICOM image: a header with UIDs of its name, size and scale."""
    from pydicom.dataset import Dataset
    from pydicom.uid import VLWholeSlideMicroscopyImageStorage

    parts = (slide.name, slide.width, slide.height, slide.um_per_px)
    made = Dataset()
    made.SOPClassUID = VLWholeSlideMicroscopyImageStorage
    made.Modality = "SM"
    made.StudyInstanceUID, made.SeriesInstanceUID = _uid("study", *parts), _uid("slide series", *parts)
    made.SOPInstanceUID, made.FrameOfReferenceUID = _uid("level 0", *parts), _uid("frame", *parts)
    made.TotalPixelMatrixColumns, made.TotalPixelMatrixRows = slide.width, slide.height
    made.ContainerIdentifier = _short(slide.name)
    for keyword in (*_EMPTY, *_EMPTY_TOO):
        setattr(made, keyword, "")
    return made


def _groups(cells: Detections, finder: Finder, identity: tuple[object, ...]) -> "list[AnnotationGroup]":
    from highdicom.ann import AnnotationGroup, Measurements
    from highdicom.color import CIELabColor
    from highdicom.content import AlgorithmIdentificationSequence
    from pydicom.sr.codedict import codes
    from pydicom.sr.coding import Code

    algorithm = AlgorithmIdentificationSequence(
        _short(finder.name), codes.cid7162.ArtificialIntelligence, _short(finder.version), source="marrowscope"
    )
    score = Code("score", OWN_CODES, "score of the name, 0 to 1")
    corners = cells.boxes[:, _CORNERS].reshape(-1, 4, 2)
    groups: list[AnnotationGroup] = []
    for label in np.unique(cells.labels):
        cell, those = cells.taxonomy[int(label)], cells.labels == label
        groups.append(
            AnnotationGroup(
                number=len(groups) + 1,
                uid=_uid("group", *identity, cell.code),
                label=_short(cell.code),
                annotated_property_category=codes.cid7150.AnatomicalStructure,
                annotated_property_type=_property(cell),
                graphic_type="POLYGON",
                graphic_data=list(corners[those]),
                algorithm_type="AUTOMATIC",
                algorithm_identification=algorithm,
                measurements=[Measurements(score, cells.scores[those], codes.UCUM.NoUnits)],
                description=_short(cell.name),
                display_color=CIELabColor.from_rgb(*LINEAGE_COLOURS[cell.lineage]),
            )
        )
    return groups


def _property(cell: CellClass) -> "Code":
    from pydicom.sr.coding import Code

    code, system = (cell.snomed_ct, "SCT") if cell.snomed_ct else (_short(cell.code), OWN_CODES)
    return Code(code, system, _short(cell.name))


def _check(cells: Detections, slide: AnnotatedSlide) -> None:
    if not len(cells):
        raise BadInput(f"{slide.name}: no cell was found, and DICOM annotations need one. Leave this slide out.")
    edges = np.asarray([slide.width, slide.height, slide.width, slide.height])
    outside = np.flatnonzero((cells.boxes < 0).any(axis=1) | (cells.boxes > edges).any(axis=1))
    if len(outside):
        box = cells.boxes[outside[0]].tolist()
        raise BadInput(
            f"{slide.name}, cell {outside[0] + 1}: its box {box} lies outside the slide of {slide.width} x "
            f"{slide.height} pixels. Give boxes in pixels of level 0."
        )


def _digest(cells: Detections) -> str:
    parts = (cells.boxes, cells.labels, cells.scores)
    return str(uuid.uuid5(_NAMES, "".join(part.tobytes().hex() for part in parts)))


def _uid(*parts: object) -> str:
    """A UID of a UUID (PS3.5 B.2), the same for the same parts."""
    return f"2.25.{uuid.uuid5(_NAMES, '/'.join(str(part) for part in parts)).int}"


def _short(text: str) -> str:
    """As much of a text as DICOM has room for, without what has a meaning there."""
    return "".join(c if c.isprintable() and c != "\\" else " " for c in text)[:_LONGEST].strip()
