"""A pyramid as DICOM: one VL Whole Slide Microscopy Image a level, all of one series, `level_0.dcm` the finest.

Of the patient nothing is said: whoever has the right fills it in. Attributes after DICOM PS3.3 A.32.8.
"""

import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import ImageCms
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.codedict import codes
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, VLWholeSlideMicroscopyImageStorage, generate_uid

from marrowscope import __version__
from marrowscope.errors import BadInput
from marrowscope.slide.encoding import Coding, EncodedTile, Packing, Spool

# The length of plain pixels has 32 bits.
_MOST_PLAIN_BYTES = 2**32 - 2
_ITEM = struct.Struct("<HHL")
_EMPTY_TABLE = _ITEM.pack(0xFFFE, 0xE000, 0)


def write_dicom(
    folder: Path,
    tiles: Iterator[EncodedTile],
    sizes: Sequence[tuple[int, int]],
    coding: Coding,
    um_per_px: float | None,
    name: str,
    *,
    now: datetime | None = None,
) -> None:
    """Write tiles of all levels, each level's in reading order, into a folder that is there.

    BadInput without a scale, which DICOM demands, or where plain pixels are more than DICOM can hold.
    """
    if um_per_px is None:
        raise BadInput(f"{name}: says nothing of um a pixel, which DICOM demands. Write it as TIFF or Zarr.")
    plain_bytes = len_of_plain(sizes[0], coding.tile_px)
    if coding.packing is Packing.PLAIN and plain_bytes > _MOST_PLAIN_BYTES:
        raise BadInput(f"{name}: has {plain_bytes / 2**30:.1f} GiB of pixels; DICOM holds 4 without loss. Use JPEG.")
    shared = _about_slide(name, now or datetime.now(UTC))
    with ExitStack() as open_files:
        spools = [open_files.enter_context(closing(Spool(folder))) for _ in sizes]
        if coding.packing is Packing.JPEG:
            for spool in spools:
                spool.file.write(_EMPTY_TABLE)
        for tile in tiles:
            spools[tile.level].add(_item(tile.data) if coding.packing is Packing.JPEG else tile.data)
        for level, (size, spool) in enumerate(zip(sizes, spools, strict=True)):
            _write_level(folder / f"level_{level}.dcm", shared, level, size, spool, coding, um_per_px * 2**level)


def len_of_plain(size: tuple[int, int], tile_px: int) -> int:
    """Bytes of all whole tiles of a level."""
    return -(-size[0] // tile_px) * -(-size[1] // tile_px) * tile_px**2 * 3


def _item(data: bytes) -> bytes:
    even = data + b"\0" * (len(data) % 2)
    return _ITEM.pack(0xFFFE, 0xE000, len(even)) + even


def _write_level(
    path: Path, shared: Dataset, level: int, size: tuple[int, int], spool: Spool, coding: Coding, um_per_px: float
) -> None:
    is_jpeg = coding.packing is Packing.JPEG
    image = Dataset()
    image.update(shared)
    image.SOPInstanceUID = generate_uid()
    image.InstanceNumber = level + 1
    image.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED" if level else "NONE"]
    _say_size(image, size, coding.tile_px, um_per_px)
    image.NumberOfFrames = len(spool.lengths)
    image.SamplesPerPixel, image.PlanarConfiguration = 3, 0
    image.BitsAllocated, image.BitsStored, image.HighBit, image.PixelRepresentation = 8, 8, 7, 0
    image.PhotometricInterpretation = "YBR_FULL_422" if is_jpeg else "RGB"
    image.LossyImageCompression = "01" if is_jpeg else "00"
    if is_jpeg:
        image.LossyImageCompressionMethod = "ISO_10918_1"
        image.LossyImageCompressionRatio = round(len_of_plain(size, coding.tile_px) / sum(spool.lengths), 2)
        _say_offsets(image, spool.lengths)
    spool.file.seek(0)
    image.add_new("PixelData", "OB", spool.file)
    image["PixelData"].is_undefined_length = is_jpeg
    image.file_meta = FileMetaDataset()
    image.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if is_jpeg else ExplicitVRLittleEndian
    image.save_as(path, enforce_file_format=True)


def _say_offsets(image: Dataset, lengths: Sequence[int]) -> None:
    """Where each frame begins: 64 bits each, as slides outgrow the 32 of the basic table."""
    starts, at = [], 0
    for length in lengths:
        starts.append(at)
        at += length
    image.ExtendedOffsetTable = struct.pack(f"<{len(starts)}Q", *starts)
    image.ExtendedOffsetTableLengths = struct.pack(f"<{len(lengths)}Q", *(n - _ITEM.size for n in lengths))


def _say_size(image: Dataset, size: tuple[int, int], tile_px: int, um_per_px: float) -> None:
    mm = um_per_px / 1000
    image.Rows = image.Columns = tile_px
    image.TotalPixelMatrixColumns, image.TotalPixelMatrixRows = size
    image.ImagedVolumeWidth, image.ImagedVolumeHeight, image.ImagedVolumeDepth = size[0] * mm, size[1] * mm, 0.001
    image.TotalPixelMatrixFocalPlanes = 1
    measures = _dataset(SliceThickness=0.001, PixelSpacing=[_decimal(mm), _decimal(mm)])
    image.SharedFunctionalGroupsSequence = [
        _dataset(
            PixelMeasuresSequence=[measures],
            WholeSlideMicroscopyImageFrameTypeSequence=[_dataset(FrameType=image.ImageType)],
            OpticalPathIdentificationSequence=[_dataset(OpticalPathIdentifier="1")],
        )
    ]


def _about_slide(name: str, now: datetime) -> Dataset:
    """What all levels say alike."""
    about = _dataset(
        SOPClassUID=VLWholeSlideMicroscopyImageStorage,
        Modality="SM",
        StudyInstanceUID=generate_uid(),
        SeriesInstanceUID=generate_uid(),
        FrameOfReferenceUID=generate_uid(),
        PyramidUID=generate_uid(),
        SeriesNumber=1,
        PositionReferenceIndicator="SLIDE_CORNER",
        Manufacturer="marrowscope",
        ManufacturerModelName="marrowscope",
        DeviceSerialNumber="0",
        SoftwareVersions=__version__,
        ContentDate=now.strftime("%Y%m%d"),
        ContentTime=now.strftime("%H%M%S"),
        AcquisitionDateTime=now.strftime("%Y%m%d%H%M%S"),
        BurnedInAnnotation="NO",
        SpecimenLabelInImage="NO",
        FocusMethod="AUTO",
        ExtendedDepthOfField="NO",
        VolumetricProperties="VOLUME",
        NumberOfOpticalPaths=1,
        ImageOrientationSlide=[0, -1, 0, -1, 0, 0],
        DimensionOrganizationType="TILED_FULL",
        DimensionOrganizationSequence=[_dataset(DimensionOrganizationUID=generate_uid())],
        TotalPixelMatrixOriginSequence=[_dataset(XOffsetInSlideCoordinateSystem=0, YOffsetInSlideCoordinateSystem=0)],
        ContainerIdentifier=name[:64],
        AcquisitionContextSequence=[],
        IssuerOfTheContainerIdentifierSequence=[],
        ContainerTypeCodeSequence=[_code(codes.SCT.MicroscopeSlide)],
        SpecimenDescriptionSequence=[
            _dataset(
                SpecimenIdentifier=name[:64],
                SpecimenUID=generate_uid(),
                IssuerOfTheSpecimenIdentifierSequence=[],
                SpecimenPreparationSequence=[],
            )
        ],
        OpticalPathSequence=[
            _dataset(
                OpticalPathIdentifier="1",
                IlluminationTypeCodeSequence=[_code(codes.DCM.BrightfieldIllumination)],
                IlluminationColorCodeSequence=[_code(codes.SCT.FullSpectrum)],
                ICCProfile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
            )
        ],
    )
    # They must be there, and may be empty.
    for keyword in ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "StudyDate", "StudyTime", "StudyID"):
        setattr(about, keyword, "")
    about.ReferringPhysicianName = about.AccessionNumber = ""
    return about


def _code(code: Any) -> Dataset:
    return _dataset(CodeValue=code.value, CodingSchemeDesignator=code.scheme_designator, CodeMeaning=code.meaning)


def _dataset(**values: Any) -> Dataset:
    made = Dataset()
    for keyword, value in values.items():
        setattr(made, keyword, value)
    return made


def _decimal(value: float) -> str:
    """At most 16 characters, as DICOM has it."""
    return f"{value:.10g}"
