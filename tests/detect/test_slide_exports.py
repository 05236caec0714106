"""What other programs read of a slide's cells is what the table holds."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from helpers.slide_world import GRID, Discs, plan_for, world
from marrowscope.assemble.slides import open_slide
from marrowscope.detect.outputs import read_qupath_geojson
from marrowscope.detect.palette import LINEAGE_COLOURS
from marrowscope.detect.slide_exports import SlideFormat, export_cells
from marrowscope.detect.slide_run import in_turn, run_slide
from marrowscope.detect.slide_table import CellsFile, SlideHead, SlideTable
from marrowscope.detect.slide_tiles import CellRows, Looked
from marrowscope.detect.tiling import Tile
from marrowscope.errors import BadInput
from marrowscope.slide.regions import Rectangle
from marrowscope.slide.writing import write_slide
from oracles.blob_detector import SHADES


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("slide")
    slide = world()
    plan = plan_for(slide, places=(Rectangle(300, 300, 400, 300),))
    run_slide(plan, in_turn(slide, Discs(), plan), out, formats=list(SlideFormat))
    return out


@pytest.fixture(scope="module")
def cells(folder: Path) -> CellRows:
    with CellsFile(folder / "cells.parquet") as file:
        return CellRows.joined(list(file.batches()))


def test_the_table_opens_in_pyarrow_with_names_and_what_it_is(folder: Path, cells: CellRows) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(folder / "cells.parquet")
    assert table.column_names == [
        *("slide", "x1", "y1", "x2", "y2", "code", "name", "score", "tile_row", "tile_column"),
    ]
    assert_array_equal(table["x2"].to_numpy(), cells.boxes[:, 2])
    rows = table.to_pylist()
    assert {row["slide"] for row in rows} == {"discs"}
    assert [row["code"] for row in rows] == [SHADES[int(label)].code for label in cells.labels]
    assert [row["name"] for row in rows] == [SHADES[int(label)].name for label in cells.labels]
    about = json.loads(table.schema.metadata[b"marrowscope"])
    assert (about["width"], about["height"], about["um_per_px"]) == (1200, 900, 0.25)
    assert about["about"]["score"] == 0.3
    assert [c["name"] for c in about["taxonomy"]["classes"]] == list(SHADES.names)


def test_qupath_finds_a_detection_a_cell_with_its_class_and_colour(folder: Path, cells: CellRows) -> None:
    values = json.loads((folder / "cells.geojson").read_text())
    read = read_qupath_geojson(values, SHADES)
    assert_allclose(read.boxes, cells.boxes, atol=0.006)
    assert_array_equal(read.labels, cells.labels)
    assert_array_equal(read.scores, cells.scores)
    features = values["features"]
    assert len({f["id"] for f in features}) == len(features)
    assert features[0]["properties"]["classification"]["color"] == list(
        LINEAGE_COLOURS[SHADES[int(cells.labels[0])].lineage]
    )


def test_the_geojson_is_one_that_the_geojson_package_holds_valid(folder: Path) -> None:
    geojson = pytest.importorskip("geojson")
    assert geojson.loads((folder / "cells.geojson").read_text()).is_valid


def test_coco_tools_read_the_slide_as_one_image(folder: Path, cells: CellRows) -> None:
    values = json.loads((folder / "coco.json").read_text())
    assert [(i["file_name"], i["width"], i["height"]) for i in values["images"]] == [("discs", 1200, 900)]
    boxes = np.asarray([a["bbox"] for a in values["annotations"]])
    assert_allclose(boxes[:, :2] + boxes[:, 2:], cells.boxes[:, 2:], atol=0.02)
    names = {c["id"]: c["name"] for c in values["categories"]}
    assert [names[a["category_id"]] for a in values["annotations"]] == [SHADES[int(x)].name for x in cells.labels]


def test_the_csv_has_a_row_a_cell(folder: Path, cells: CellRows) -> None:
    with (folder / "cells.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert_allclose([float(row["y1"]) for row in rows], cells.boxes[:, 1], atol=0.006)
    assert [row["class"] for row in rows] == [SHADES[int(label)].name for label in cells.labels]


def test_many_cells_go_through_in_pieces(tmp_path: Path) -> None:
    table = SlideTable(tmp_path, {})
    rng = np.random.default_rng(0)
    for batch in range(5):
        middle = rng.uniform((batch * 96, 0), ((batch + 1) * 96, 96), (300, 2))
        rows = CellRows(
            np.concatenate([middle - 1, middle + 1], axis=1),
            rng.integers(0, 2, 300),
            np.ones(300, np.float32),
            np.tile([0, batch], (300, 1)),
        )
        table.add(batch, [Tile(0, batch)], Looked(rows, 0))
    path = table.settle(GRID, SlideHead("many", 480, 96, None, SHADES, {}))
    with CellsFile(path) as file:
        pieces = list(file.batches(100))
        assert max(len(piece) for piece in pieces) == 100
        assert sum(len(piece) for piece in pieces) == len(file)
        (written,) = export_cells(file, tmp_path, [SlideFormat.CSV])
        assert len(written.read_text().splitlines()) == len(file) + 1


def test_dicom_annotations_say_the_same_cells_of_a_slide_that_is_no_dicom(folder: Path, cells: CellRows) -> None:
    read = pytest.importorskip("highdicom").ann.annread(folder / "cells.dcm")
    boxes, labels = [], []
    for group in read.get_annotation_groups():
        for corners in group.get_graphic_data(coordinate_type="2D"):
            boxes.append([*corners.min(axis=0), *corners.max(axis=0)])
            labels.append(group.label)
    found = sorted(zip(labels, np.asarray(boxes).tolist(), strict=True))
    codes = [SHADES[int(label)].code for label in cells.labels]
    expected = sorted(zip(codes, cells.boxes.astype(np.float32).tolist(), strict=True))
    assert [code for code, _ in found] == [code for code, _ in expected]
    assert_allclose([box for _, box in found], [box for _, box in expected])


def test_dicom_annotations_of_a_dicom_slide_refer_to_its_finest_level(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    write_slide(world(), tmp_path / "discs.dicom", quality=None)
    with open_slide(tmp_path / "discs.dicom") as slide:
        plan = plan_for(slide, places=(Rectangle(300, 300, 400, 300),), path=tmp_path / "discs.dicom")
        run_slide(plan, in_turn(slide, Discs(), plan), tmp_path / "out", formats=[SlideFormat.DICOM])
    annotations = pydicom.dcmread(tmp_path / "out" / "cells.dcm")
    levels = [pydicom.dcmread(f, stop_before_pixels=True) for f in (tmp_path / "discs.dicom").glob("*.dcm")]
    finest = max(levels, key=lambda level: level.TotalPixelMatrixColumns)
    assert annotations.StudyInstanceUID == finest.StudyInstanceUID
    referred = annotations.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0]
    assert referred.ReferencedSOPInstanceUID == finest.SOPInstanceUID


def test_a_slide_without_a_cell_has_a_table_and_files_all_the_same(tmp_path: Path) -> None:
    slide = world()
    plan = plan_for(slide, places=(Rectangle(0, 0, 60, 60),))
    run = run_slide(plan, in_turn(slide, Discs(), plan), tmp_path, formats=list(SlideFormat))
    assert run.cells == 0
    assert json.loads((tmp_path / "cells.geojson").read_text())["features"] == []
    assert json.loads((tmp_path / "coco.json").read_text())["annotations"] == []
    assert not (tmp_path / "cells.dcm").exists()


def test_another_file_is_no_table_of_cells(tmp_path: Path) -> None:
    (tmp_path / "cells.parquet").write_bytes(b"PAR1 not at all")
    with pytest.raises(BadInput, match="no table of cells"):
        CellsFile(tmp_path / "cells.parquet")
