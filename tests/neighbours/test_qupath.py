"""What QuPath is given is valid GeoJSON, and the example script asks for what is there. QuPath itself is not here.

QuPath's reader (`QuPathTypeAdapters`) takes a UUID as id, an objectType, a classification with name and three bytes of
colour, and measurements as a map of numbers; `tests/detect/test_outputs.py` holds every feature to that.
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.neighbours import SCHEME
from marrowscope.cells.detections import Detections
from marrowscope.detect.outputs import Format, qupath_geojson, write_field
from marrowscope.detect.saved import DetectedField

geojson = pytest.importorskip("geojson")
shapely = pytest.importorskip("shapely")

SCRIPT = Path(__file__).parents[2] / "docs" / "qupath" / "import_cells.groovy"
# Eighths of a pixel: `geojson` rounds to six decimals.
side = st.integers(0, 32000).map(lambda eighths: eighths / 8)


def field_of(boxes: list[tuple[float, float, float, float]]) -> DetectedField:
    whole = np.asarray(boxes, np.float32).reshape(-1, 4)
    found = Detections(whole, np.zeros(len(boxes), np.int64), np.full(len(boxes), 0.5, np.float32), SCHEME)
    return DetectedField(Path("field_7.jpg"), "field_7", 4000, 4000, found)


@given(st.lists(st.tuples(side, side, side, side), max_size=4))
def test_every_cell_is_a_valid_polygon_of_its_box(corners: list[tuple[float, float, float, float]]) -> None:
    boxes = [(min(a, b), min(c, d), max(a, b), max(c, d)) for a, b, c, d in corners]
    field = field_of([box for box in boxes if box[0] < box[2] and box[1] < box[3]])
    read = geojson.loads(json.dumps(qupath_geojson(field)))
    assert read.is_valid, read.errors()
    for feature, box in zip(read.features, field.detections.boxes.tolist(), strict=True):
        outline = shapely.geometry.shape(feature.geometry)
        assert outline.is_valid
        assert outline.bounds == tuple(box)
        assert outline.equals(shapely.box(*box))
        assert outline.exterior.is_ccw, "RFC 7946, 3.1.6: exterior rings turn left"


def test_the_script_looks_where_files_are_written_for_a_measurement_that_is_there(tmp_path: Path) -> None:
    write_field(field_of([(1, 2, 30, 40)]), tmp_path, [Format.GEOJSON])
    text = SCRIPT.read_text(encoding="utf-8")
    folder, suffix = re.findall(
        r"PROJECT_BASE_DIR, '(\w+)', getCurrentImageNameWithoutExtension\(\) \+ '([\w.]+)'", text
    )[0]
    (feature,) = json.loads((tmp_path / folder / f"field_7{suffix}").read_text())["features"]
    (measurement,) = re.findall(r"getMeasurementList\(\)\.get\('(\w+)'\)", text)
    assert feature["properties"]["measurements"] == {measurement: 0.5}
