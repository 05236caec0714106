"""Small labelled folders, made anew for each test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from marrowscope.data.labelled import LabelledField

Box = tuple[float, float, float, float]


def jpeg(path: Path, width: int, height: int, seed: int = 0) -> Path:
    """A JPEG whose pixels depend on the seed."""
    small = np.random.default_rng(seed).integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), np.uint8)
    pixels = np.ascontiguousarray(np.kron(small, np.ones((8, 8, 1), np.uint8))[:height, :width])
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(simplejpeg.encode_jpeg(pixels, 90))
    return path


@pytest.fixture
def make_jpeg() -> Callable[..., Path]:
    return jpeg


@pytest.fixture
def make_field(tmp_path: Path) -> Callable[..., LabelledField]:
    """A field of 320 x 240 with its image on disk; cells are (label, box) pairs."""

    def make(
        name: str,
        cells: list[tuple[str, Box]],
        *,
        difficult: list[bool] | None = None,
        specimen: str | None = None,
        size: tuple[int, int] = (320, 240),
    ) -> LabelledField:
        path = jpeg(tmp_path / "made" / f"{name}.jpg", *size, seed=sum(name.encode()))
        boxes = np.asarray([box for _, box in cells], np.float32)
        marks = np.asarray(difficult or [False] * len(cells), bool)
        return LabelledField(name, path, *size, boxes, tuple(label for label, _ in cells), marks, specimen)

    return make


@pytest.fixture
def voc_folder(tmp_path: Path) -> Callable[..., Path]:
    """A VOC folder written by hand: name -> XML of the objects (or a whole file), images 320 x 240."""

    def make(files: dict[str, str], splits: dict[str, str] | None = None, images: bool = True) -> Path:
        folder = tmp_path / "voc"
        for number, (name, objects) in enumerate(files.items()):
            if images:
                jpeg(folder / "JPEGImages" / f"{name}.jpg", 320, 240, seed=number)
            whole = objects.lstrip().startswith(("<?xml", "<!DOCTYPE", "<annotation", "<html"))
            size = "<size><width>320</width><height>240</height><depth>3</depth></size>"
            image_name = Path(name).name
            xml = f"<annotation><filename>{image_name}.jpg</filename>{size}{objects}</annotation>"
            path = folder / "Annotations" / f"{name}.xml"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(objects if whole else xml, encoding="utf-8")
        for split, text in (splits or {}).items():
            path = folder / "ImageSets" / "Main" / f"{split}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return folder

    return make


def voc_object(label: str, *edges: object, difficult: object = 0) -> str:
    """One <object>."""
    names = ("xmin", "ymin", "xmax", "ymax")
    box = "".join(f"<{n}>{e}</{n}>" for n, e in zip(names, edges, strict=True))
    return f"<object><name>{label}</name><difficult>{difficult}</difficult><bndbox>{box}</bndbox></object>"


@pytest.fixture
def cell() -> Callable[..., str]:
    return voc_object
