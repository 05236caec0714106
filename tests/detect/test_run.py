"""The whole third journey, from files to files, with a detector that can be checked by eye."""

import csv
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
import simplejpeg

from marrowscope.cells.boxes import iou_matrix
from marrowscope.cells.detections import Detections
from marrowscope.cells.field import FieldImage
from marrowscope.data.images import read_image
from marrowscope.detect.outputs import Format
from marrowscope.detect.replay_runtime import ReplayDetector
from marrowscope.detect.run import RunSummary, detect_paths
from marrowscope.detect.saved import read_detections
from marrowscope.detect.sources import find_images
from marrowscope.errors import BadInput
from oracles.blob_detector import BlobDetector

CELLS = 4


def draw(path: Path, seed: int) -> None:
    """A field of 800 x 600 with four discs, two of them dark."""
    rng = np.random.default_rng(seed)
    pixels = np.full((600, 800, 3), 230, np.uint8)
    for k, shade in enumerate((10, 90, 10, 90)):
        centre = (100 + 200 * k + int(rng.integers(-20, 20)), int(rng.integers(100, 500)))
        cv2.circle(pixels, centre, int(rng.integers(30, 60)), (shade,) * 3, cv2.FILLED)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(simplejpeg.encode_jpeg(pixels, quality=95))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-five fields, of which one is cut short and one is no image at all."""
    folder = tmp_path_factory.mktemp("fields")
    for n in range(25):
        draw(folder / f"field_{n}.jpg", n)
    whole = (folder / "field_11.jpg").read_bytes()
    (folder / "field_11.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "field_19.jpg").write_bytes(b"not an image")
    return folder


@pytest.fixture(scope="module")
def run(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RunSummary]:
    out = tmp_path_factory.mktemp("out")
    paths = find_images([folder])
    about = {"checkpoint": "blobs"}
    summary = detect_paths(BlobDetector(), paths, out, formats=Format, score=0.3, batch=4, overlay=True, about=about)
    return out, summary


def test_bad_files_are_counted_named_and_skipped(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        summary = detect_paths(BlobDetector(), find_images([folder]), tmp_path, batch=3)
    assert (summary.fields, summary.failed) == (23, 2)
    assert [u.path.name for u in summary.unreadable] == ["field_11.jpg", "field_19.jpg"]
    assert [("field_11" in m, "field_19" in m) for m in caplog.messages] == [(True, False), (False, True)]
    saved = json.loads((tmp_path / "detections.json").read_text())
    assert [Path(u["path"]).name for u in saved["unreadable"]] == ["field_11.jpg", "field_19.jpg"]
    assert all("corrupt" in u["reason"] or "no image" in u["reason"] for u in saved["unreadable"])


def test_every_cell_of_every_good_field_is_found_in_original_pixels(run: tuple[Path, RunSummary]) -> None:
    out, summary = run
    assert summary.cells == 23 * CELLS
    saved = read_detections(out / "detections.json")
    expected = [n for n in range(25) if n not in (11, 19)]
    assert [f.path.name for f in saved.fields] == [f"field_{n}.jpg" for n in expected]
    for field in saved.fields:
        pixels = read_image(field.path).pixels
        _, _, stats, _ = cv2.connectedComponentsWithStats((pixels[:, :, 0] < 128).astype(np.uint8))
        discs = np.asarray([(x, y, x + w, y + h) for x, y, w, h, area in stats[1:] if area > 100], np.float32)
        assert iou_matrix(discs, field.detections.boxes).max(axis=1).min() > 0.9


def test_the_file_says_what_made_it(run: tuple[Path, RunSummary]) -> None:
    saved = json.loads((run[0] / "detections.json").read_text())
    assert saved["checkpoint"] == "blobs"
    assert saved["score_threshold"] == 0.3
    assert saved["taxonomy"]["name"] == "shades"
    assert saved["differential"]["total"] == 23 * CELLS


def test_every_field_has_its_files_and_no_other_is_left(run: tuple[Path, RunSummary]) -> None:
    out, _ = run
    for kind, suffix in (("voc", "xml"), ("yolo", "txt"), ("geojson", "geojson"), ("overlays", "jpg")):
        stems = {p.stem for p in (out / kind).iterdir()} - {"classes"}
        assert stems == {f"field_{n}" for n in range(25) if n not in (11, 19)}
        assert all(p.suffix == f".{suffix}" for p in (out / kind).iterdir())
    assert not list(out.rglob(".*")), "no half-written file"
    with (out / "detections.csv").open(newline="") as text:
        assert len(list(csv.DictReader(text))) == 23 * CELLS


def test_overlays_have_the_size_of_the_field(run: tuple[Path, RunSummary]) -> None:
    assert read_image(run[0] / "overlays" / "field_0.jpg").pixels.shape == (600, 800, 3)


def test_the_differential_is_written_three_times_alike(run: tuple[Path, RunSummary]) -> None:
    out, summary = run
    values = json.loads((out / "differential.json").read_text())
    assert values["total"] == summary.differential.total == 23 * CELLS
    dark = values["classes"]["dark blob"]
    assert dark["count"] == 46
    assert dark["percent"] == pytest.approx(50)
    # Clopper-Pearson for 46 of 92, from tables.
    assert dark["interval"] == pytest.approx([39.4, 60.6], abs=0.1)
    assert values["myeloid_erythroid"] == {
        "myeloid": 0,
        "erythroid": 46,
        "ratio": 0.0,
        "interval": [0.0, pytest.approx(0.0835, abs=1e-3)],
    }
    with (out / "differential.csv").open(newline="") as text:
        rows = {(r["kind"], r["name"]): r for r in csv.DictReader(text)}
    assert rows["class", "dark blob"]["count"] == rows["lineage", "erythroid"]["count"] == "46"
    assert rows["class", "dark blob"]["percent"] == "50.00"
    markdown = (out / "differential.md").read_text()
    assert "| dark blob | 46 | 50.0 % (39.4-60.6) |" in markdown
    assert "Myeloid : erythroid = 0 : 46 = 0.00" in markdown


def test_a_known_confusion_stands_beside_the_raw_count(
    folder: Path, run: tuple[Path, RunSummary], tmp_path: Path
) -> None:
    # Half of the pale blobs are called dark, so half of what is called dark is pale.
    classes = len(BlobDetector().taxonomy)
    known = np.zeros((classes + 1, classes + 1), int)
    known[np.diag_indices(classes)] = 1000
    dark = BlobDetector().taxonomy.index("dark blob")
    pale = next(i for i, s in enumerate(run[1].differential.counts) if s and i != dark)
    known[pale, dark] = 500
    confusion = tuple(tuple(row) for row in known.tolist())
    summary = detect_paths(BlobDetector(), find_images([folder]), tmp_path, score=0.3, confusion=confusion)
    assert summary.adjusted is not None
    assert summary.differential == run[1].differential
    assert run[1].adjusted is None
    values = json.loads((tmp_path / "differential.json").read_text())
    assert values["adjusted"]["classes"]["dark blob"]["percent"] == pytest.approx(25, abs=0.5)
    low, high = values["adjusted"]["classes"]["dark blob"]["interval"]
    assert low < 25 < high
    assert json.loads((run[0] / "differential.json").read_text())["adjusted"] is None
    with (tmp_path / "differential.csv").open(newline="") as text:
        rows = {(r["kind"], r["name"]): r for r in csv.DictReader(text)}
    assert float(rows["class", "dark blob"]["adjusted_percent"]) == pytest.approx(25, abs=0.5)
    assert float(rows["lineage", "erythroid"]["adjusted_low_95"]) == pytest.approx(low, abs=0.01)
    markdown = (tmp_path / "differential.md").read_text()
    assert f"| dark blob | 46 | 50.0 % (39.4-60.6) | {dict(_by_name(summary))['dark blob']} |" in markdown
    assert "if cells are confused here as" in markdown


def _by_name(summary: RunSummary) -> list[tuple[str, str]]:
    assert summary.adjusted is not None
    return [(cell.name, str(share)) for cell, share in summary.adjusted.classes]


def test_results_do_not_depend_on_batch_or_on_what_else_is_written(
    folder: Path, run: tuple[Path, RunSummary], tmp_path: Path
) -> None:
    paths = find_images([folder])
    detect_paths(BlobDetector(), paths, tmp_path, score=0.3, batch=7, about={"checkpoint": "blobs"})
    assert (tmp_path / "detections.json").read_text() == (run[0] / "detections.json").read_text()
    assert not (tmp_path / "overlays").exists()


def test_a_saved_run_can_be_played_back_into_the_same_files(
    folder: Path, run: tuple[Path, RunSummary], tmp_path: Path
) -> None:
    replay = ReplayDetector.from_file(run[0] / "detections.json")
    paths = [p for p in find_images([folder]) if p.stem not in ("field_11", "field_19")]
    summary = detect_paths(replay, paths, tmp_path, formats=[Format.CSV], score=0.3)
    assert summary.failed == 0
    assert (tmp_path / "detections.csv").read_text() == (run[0] / "detections.csv").read_text()


def test_replay_refuses_a_field_it_does_not_know(run: tuple[Path, RunSummary], tmp_path: Path) -> None:
    draw(tmp_path / "stranger.jpg", 1)
    replay = ReplayDetector.from_file(run[0] / "detections.json")
    with pytest.raises(BadInput, match=r"stranger\.jpg: nothing was saved"):
        detect_paths(replay, [tmp_path / "stranger.jpg"], tmp_path / "out")


def test_replay_refuses_a_picture_of_another_size(run: tuple[Path, RunSummary], tmp_path: Path) -> None:
    small = simplejpeg.encode_jpeg(np.zeros((60, 80, 3), np.uint8))
    (tmp_path / "field_0.jpg").write_bytes(small)
    replay = ReplayDetector.from_file(run[0] / "detections.json")
    with pytest.raises(BadInput, match="80 x 60, but detections were saved for 800 x 600"):
        replay.detect([read_image(tmp_path / "field_0.jpg")])


def test_score_drops_detections_everywhere(folder: Path, tmp_path: Path) -> None:
    paths = find_images([folder / "field_0.jpg"])
    summary = detect_paths(BlobDetector(), paths, tmp_path, score=0.8, formats=[Format.YOLO])
    assert summary.cells == summary.differential.total == 2
    assert len((tmp_path / "yolo" / "field_0.txt").read_text().splitlines()) == 2


def test_files_of_one_name_in_two_folders_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        draw(tmp_path / folder / "1.jpg", 0)
    paths = find_images([tmp_path / "a", tmp_path / "b"])
    detect_paths(BlobDetector(), paths, tmp_path / "out", formats=[Format.VOC])
    assert sorted(p.name for p in (tmp_path / "out" / "voc").iterdir()) == ["a__1.xml", "b__1.xml"]


def test_a_run_in_which_nothing_can_be_read_still_ends_and_says_so(tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"nothing")
    summary = detect_paths(BlobDetector(), [bad], tmp_path / "out", formats=Format, overlay=True)
    assert (summary.fields, summary.failed, summary.cells) == (0, 1, 0)
    assert read_detections(tmp_path / "out" / "detections.json").fields == ()
    assert "0 cells" in (tmp_path / "out" / "differential.md").read_text()


def test_progress_reaches_the_end(folder: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    detect_paths(BlobDetector(), find_images([folder]), tmp_path, batch=10, progress=lambda *now: seen.append(now))
    assert seen[-1] == (25, 25)
    assert seen == sorted(seen)


def test_the_detector_gets_full_batches_and_never_more(folder: Path, tmp_path: Path) -> None:
    sizes: list[int] = []

    class Counting(BlobDetector):
        def detect(self, fields: Sequence[FieldImage]) -> list[Detections]:
            sizes.append(len(fields))
            return super().detect(fields)

    detect_paths(Counting(), find_images([folder]), tmp_path, batch=5)
    assert sizes == [5, 5, 5, 5, 3], "unreadable files make no batch smaller"


def test_impossible_options_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"score 1\.5"):
        detect_paths(BlobDetector(), [], tmp_path, score=1.5)
    with pytest.raises(BadInput, match="batch 0"):
        detect_paths(BlobDetector(), [], tmp_path, batch=0)
    (tmp_path / "taken").write_text("")
    with pytest.raises(BadInput, match="taken: cannot be made a folder"):
        detect_paths(BlobDetector(), [], tmp_path / "taken")


def test_an_overlay_that_cannot_be_drawn_ends_the_run_with_its_error(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "overlays").write_text("in the way")
    with pytest.raises(OSError, match="overlays"):
        detect_paths(BlobDetector(), find_images([folder / "field_0.jpg"]), tmp_path, overlay=True)


def test_real_fields_pass_through(data_root: Path, tmp_path: Path) -> None:
    paths = find_images([data_root / "pbc_fields" / "JPEGImages" / "field_val_00[0-2]?.jpg"])[:6]
    summary = detect_paths(BlobDetector((702, 528)), paths, tmp_path, formats=Format, score=0, overlay=True)
    assert (summary.fields, summary.failed) == (6, 0)
    assert summary.cells > 0
