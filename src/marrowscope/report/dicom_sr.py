"""Content -> DICOM SR: a Comprehensive SR with the tree of TID 1500 (Measurement Report), by highdicom.

    observers      the person who signed, marrowscope with its version, every model by name
    subject        the specimen, by its code; the patient by the lab's code alone
    measurements   a group a class, group, lineage and ratio: the share (%), both ends of its exact 95 % interval, the
                   cells, the reference range with its authority, abnormally high or low
    conclusions    the conclusion, the comments, and what a reader must know of the whole report

TID 1500 speaks of images; a differential refers to none, so the report names no evidence. Its template may be added to,
and the conclusions are such an addition. Codes are LOINC or SNOMED CT where known, else marrowscope's own. A document
is verified by the person who signed. UIDs are derived from specimen, version and the moment of the signature, so the
same report gives the same document, and an amended one names the one before it. Times are UTC.

Imports highdicom (extra `hospital`); named where a report is fetched, inside a function.
"""

import re
import uuid
from collections.abc import Iterator, Mapping
from datetime import datetime
from io import BytesIO
from typing import Any

import highdicom.sr as sr
from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import ComprehensiveSRStorage
from pydicom.valuerep import DA, DT, TM

from marrowscope.cells.reference import Flag
from marrowscope.cells.taxonomy import OWN_CODES
from marrowscope.errors import BadInput
from marrowscope.report import words
from marrowscope.report.content import IndexLine, Language, ReportContent, ShareLine, Signature, UsualRange
from marrowscope.report.fhir import loinc_table
from marrowscope.report.words import LABELS, Said

_NAMES = uuid.UUID("3f1a1f0e-0f0b-5c1c-8d7a-5b9a6c4f2e11")
_CELLS, _RATIO = Code("{cells}", "UCUM", "cells"), Code("{ratio}", "UCUM", "ratio")
_ENGLISH, _CHINESE = (sr.CodedConcept(*x) for x in (("en", "RFC5646", "English"), ("zh", "RFC5646", "Chinese")))
_NORMALITY = {Flag.HIGH: codes.cid222.AbnormallyHigh, Flag.LOW: codes.cid222.AbnormallyLow}
# Control characters but for line ends, which a text may have.
_CONTROL = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_LONGEST = 64


def structured_report(content: ReportContent) -> bytes:
    """The document as a DICOM file. BadInput: nobody signed the report, or DICOM cannot hold the patient's code."""
    if content.signature is None:
        raise BadInput("a DICOM SR is made of a signed report, and this one is a draft. Sign it first.")
    buffer = BytesIO()
    _Writer(content, content.signature).document().save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


class _Writer:
    """Writes the parts of one document."""

    def __init__(self, content: ReportContent, signature: Signature) -> None:
        self.content, self.signature = content, signature
        self.laboratory = _short(content.letterhead.laboratory)
        specimen = content.specimen
        self.case = f"{specimen.id}/{specimen.code}/{specimen.patient_code}"

    def document(self) -> sr.ComprehensiveSR:
        c, at = self.content, self.signature.at
        report = sr.MeasurementReport(
            observation_context=self._context(),
            procedure_reported=codes.DCM.CytologicAnalysis,
            title=_code(loinc_table()["report"]),
            language_of_content_item_and_descendants=sr.LanguageOfContentItemAndDescendants(
                _CHINESE if c.language is Language.CHINESE else _ENGLISH
            ),
            imaging_measurements=list(self._groups()),
        )
        report[0].ContentSequence.append(self._conclusions())
        before = [] if c.amendment is None else [self._identity(c.amendment.replaces, c.amendment.signed_at)]
        me = self._identity(c.version, at)
        document = sr.ComprehensiveSR(
            evidence=[self._study()],
            content=report[0],
            series_instance_uid=me.SeriesInstanceUID,
            series_number=1,
            sop_instance_uid=me.SOPInstanceUID,
            instance_number=c.version,
            manufacturer=c.method.software,
            manufacturer_model_name=c.method.software,
            software_versions=_short(c.method.version),
            is_complete=True,
            is_final=True,
            is_verified=True,
            verifying_observer_name=_person(self.signature.name),
            verifying_organization=self.laboratory or "not stated",
            institution_name=self.laboratory or None,
            previous_versions=before or None,
            content_date=at.date(),
            content_time=at.time(),
            series_description="Bone marrow cytology report",
            coding_schemes=[CodingSchemeIdentificationItem(OWN_CODES, name=f"codes of {c.method.software}")],
        )
        self._settle(document, at)
        return document

    def _settle(self, document: sr.ComprehensiveSR, at: datetime) -> None:
        """What highdicom would take from the clock, and the evidence that lent its study and is no image."""
        document.InstanceCreationDate, document.InstanceCreationTime = DA(at.date()), TM(at.time())
        document.TimezoneOffsetFromUTC = "+0000"
        document.VerifyingObserverSequence[0].VerificationDateTime = DT(at.strftime("%Y%m%d%H%M%S%z"))
        for equipment in document.ContributingEquipmentSequence:
            equipment.ContributionDateTime = DT(at.strftime("%Y%m%d%H%M%S%z"))
        del document.CurrentRequestedProcedureEvidenceSequence

    def _uid(self, *parts: object) -> str:
        return _uid(self.case, *parts)

    def _identity(self, version: int, at: datetime) -> Dataset:
        """By what a version of this report is known."""
        made = Dataset()
        made.SOPClassUID = ComprehensiveSRStorage
        made.StudyInstanceUID = self._uid("study")
        made.SeriesInstanceUID = self._uid("series", version, at.isoformat())
        made.SOPInstanceUID = self._uid("report", version, at.isoformat())
        return made

    def _study(self) -> Dataset:
        s, at = self.content.specimen, self.signature.at
        study = self._identity(0, at)
        study.SpecificCharacterSet = "ISO_IR 192"
        study.PatientID, study.PatientName = _patient(s.patient_code), ""
        study.PatientBirthDate, study.PatientSex = "", ""
        # A code that is longer than DICOM allows is left out rather than cut: the specimen has it whole.
        code = _clean(s.code)
        study.StudyID = study.AccessionNumber = code if len(code) <= 16 else ""
        study.StudyDate, study.StudyTime = DA(s.taken_on or at.date()), None
        study.ReferringPhysicianName = ""
        return study

    def _context(self) -> sr.ObservationContext:
        c, signature = self.content, self.signature
        person = sr.PersonObserverIdentifyingAttributes(
            name=_person(signature.name),
            login_name=_clean(signature.user),
            organization_name=self.laboratory or None,
        )
        software = sr.DeviceObserverIdentifyingAttributes(
            uid=_uid("software", c.method.software, c.method.version),
            name=f"{c.method.software} {c.method.version}",
            manufacturer_name=c.method.software,
        )
        context = sr.ObservationContext(
            observer_person_context=sr.ObserverContext(codes.DCM.Person, person),
            observer_device_context=sr.ObserverContext(codes.DCM.Device, software),
        )
        for model in c.method.models:
            about = sr.DeviceObserverIdentifyingAttributes(
                uid=_uid("model", model.digest),
                name=_clean(model.name),
                model_name=f"SHA-256 {model.digest}",
            )
            context.extend(sr.ObserverContext(codes.DCM.Device, about))
        specimen = sr.SubjectContextSpecimen(uid=self._uid("specimen"), identifier=_clean(c.specimen.code))
        context.extend(sr.SubjectContext(codes.DCM.Specimen, specimen))
        return context

    def _groups(self) -> Iterator[sr.MeasurementsAndQualitativeEvaluations]:
        c, loinc = self.content, loinc_table()
        for line in c.classes:
            finding = _cell(line.code, line.name, line.snomed_ct)
            yield self._share(f"class.{line.code}", finding, line.share, loinc["classes"].get(line.code))
        for group in c.groups:
            key = f"group.{'+'.join(group.codes)}"
            yield self._share(key, _ours(key, group.name), group.share)
        for whole in c.lineages:
            key, known = f"lineage.{whole.lineage.value}", loinc["lineages"].get(whole.lineage.value)
            yield self._share(key, _ours(key, words.LINEAGES[whole.lineage].en), whole.share, known)
        for index in c.indices:
            yield self._index(index, loinc["indices"].get(index.key))
        for seen in c.uncounted:
            counted = _number(_ours("cells", "cells, outside the differential"), seen.count, _CELLS)
            yield self._group(f"seen.{seen.code}", _cell(seen.code, seen.name, seen.snomed_ct), [counted])
        total = _number(_code(loinc["cells_counted"]), c.total, _CELLS)
        reviewed = _number(_ours("reviewed", LABELS["reviewed"].en), c.specimen.reviewed, _CELLS)
        yield self._group("count", _ours("count", LABELS["total"].en), [total, reviewed])

    def _group(
        self, key: str, finding: Code, measurements: list[sr.Measurement]
    ) -> sr.MeasurementsAndQualitativeEvaluations:
        return sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(uid=self._uid("group", key), identifier=_clean(key)),
            finding_type=finding,
            measurements=measurements,
        )

    def _share(
        self, key: str, finding: Code, share: ShareLine, loinc: Mapping[str, str] | None = None
    ) -> sr.MeasurementsAndQualitativeEvaluations:
        unit = codes.UCUM.Percent
        name = _code(loinc) if loinc else _ours("share", "cells of this kind per 100 nucleated cells")
        numbers = [_number(_ours("cells", "cells of this kind"), share.count, _CELLS)]
        numbers.append(_number(_ours("reviewed", LABELS["reviewed"].en), share.reviewed, _CELLS))
        if share.percent is not None:
            numbers.insert(0, _number(name, share.percent, unit, _properties(share, unit)))
            numbers[1:1] = _interval(share.low, share.high, unit)
        return self._group(key, finding, numbers)

    def _index(self, line: IndexLine, loinc: Mapping[str, str] | None) -> sr.MeasurementsAndQualitativeEvaluations:
        key = f"index.{line.key}"
        ours = _ours(key, line.name)
        parts = line.formula.split(" : ")
        ends = (("top", parts[0], line.top), ("bottom", parts[-1], line.bottom))
        numbers = [_number(_ours(end, text), number, _CELLS) for end, text, number in ends]
        if line.high is not None:
            numbers[:0] = _interval(line.low, line.high, _RATIO)
        if line.value is not None:
            name = _code(loinc) if loinc else ours
            numbers.insert(0, _number(name, line.value, _RATIO, _properties(line, _RATIO)))
        return self._group(key, ours, numbers)

    def _conclusions(self) -> sr.ContainerContentItem:
        c, contains = self.content, sr.RelationshipTypeValues.CONTAINS
        box = sr.ContainerContentItem(codes.DCM.Conclusions, relationship_type=contains)
        said: list[tuple[Code, str]] = [(codes.DCM.Conclusion, c.conclusion), (codes.DCM.Comment, c.comments)]
        slides = "; ".join(f"{slide.label}, {slide.stain}" for slide in c.specimen.slides)
        material = Said(*(f"{label}: {c.specimen.material}. {slides}" for label in LABELS["material"]))
        meaning = Said(*(f"{label}: {self.signature.meaning}" for label in LABELS["meaning"]))
        remarks = [material, meaning, *words.remarks(c)]
        said += [(codes.DCM.Comment, remark.line(c.language)) for remark in remarks]
        texts = [(name, _CONTROL.sub(" ", text).strip()) for name, text in said]
        box.ContentSequence = sr.ContentSequence([sr.TextContentItem(*x, contains) for x in texts if x[1]])
        return box


def _uid(*parts: object) -> str:
    """A UID of a UUID (PS3.5 B.2), the same for the same parts."""
    return f"2.25.{uuid.uuid5(_NAMES, '/'.join(str(part) for part in parts)).int}"


def _clean(text: str) -> str:
    """One line without what has a meaning in DICOM."""
    return " ".join(_CONTROL.sub(" ", text).replace("\\", "/").split())


def _short(text: str) -> str:
    return _clean(text)[:_LONGEST].rstrip()


def _patient(code: str) -> str:
    """As it is: a code that was cut or changed might be that of somebody else."""
    if len(code) > _LONGEST or "\\" in code or not code.isprintable():
        raise BadInput(
            f"DICOM SR: the code of this patient does not fit. DICOM takes {_LONGEST} characters at most, and no "
            "backslash; fetch the report in another format."
        )
    return code


def _person(name: str) -> str:
    # A name is not taken apart: all of it stands as the family name.
    return re.sub(r"[\^=]", " ", _clean(name))[: _LONGEST - 1].rstrip() + "^"


def _ours(code: str, meaning: str) -> Code:
    return Code(_clean(code), OWN_CODES, _short(meaning))


def _code(entry: Mapping[str, Any]) -> Code:
    return Code(entry["code"], "LN", _short(entry["display"]))


def _cell(code: str, name: str, snomed_ct: str) -> Code:
    return Code(snomed_ct, "SCT", _short(name)) if snomed_ct else _ours(code, name)


def _number(name: Code, value: float, unit: Code, properties: sr.MeasurementProperties | None = None) -> sr.Measurement:
    return sr.Measurement(name, value, unit, properties=properties)


def _interval(low: float, high: float, unit: Code) -> list[sr.Measurement]:
    ends = (("interval-95-low", "lower", low), ("interval-95-high", "upper", high))
    return [_number(_ours(key, f"{which} end of the exact 95 % interval"), end, unit) for key, which, end in ends]


def _properties(line: ShareLine | IndexLine, unit: Code) -> sr.MeasurementProperties | None:
    if line.usual is None and line.flagged is None:
        return None
    normality = None if line.flagged is None else _NORMALITY[line.flagged.flag]
    certain = line.flagged is None or line.flagged.certain
    usual = None if line.usual is None else _range(line.usual, unit, certain=certain)
    return sr.MeasurementProperties(normality=normality, normal_range_properties=usual)


def _range(usual: UsualRange, unit: Code, *, certain: bool) -> sr.NormalRangeProperties:
    limits = ((codes.cid223.NormalRangeLowerLimit, usual.low), (codes.cid223.NormalRangeUpperLimit, usual.high))
    return sr.NormalRangeProperties(
        [
            sr.NumContentItem(name, end, unit, relationship_type="HAS PROPERTIES")
            for name, end in limits
            if end is not None
        ],
        description=_clean(usual.text) + ("" if certain else "; the 95 % interval touches it"),
        authority=_clean(usual.source),
    )
