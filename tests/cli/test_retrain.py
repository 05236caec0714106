"""`marrowscope retrain`: reviewed cases become a candidate, a comparison, and perhaps the serving model."""

import hashlib
import json
import shutil
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from helpers.retraining import (
    CODES,
    COLUMNS,
    HEIGHT,
    RECIPE,
    ROWS,
    WIDTH,
    five_patients,
    paint,
    retrain_at,
    reviewed_station,
    untrained,
    work_of,
)
from marrowscope.data.labelled import data_hash
from marrowscope.data.voc import read_voc
from marrowscope.model.checkpoint import load_checkpoint, save_checkpoint
from marrowscope.station.retraining import FIXED, fixed_patients
from marrowscope.store.store import Store
from marrowscope.training import loop


@pytest.fixture(scope="module")
def patients() -> list[str]:
    return five_patients()


@pytest.fixture(scope="module")
def archived(tmp_path_factory: pytest.TempPathFactory, patients: list[str]) -> Path:
    """A station's home with five reviewed cases: two of the fixed set, with five fields, and three with two."""
    home = tmp_path_factory.mktemp("station")
    reviewed_station(home, patients)
    return home


@pytest.fixture
def home(archived: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(archived, tmp_path / "station"))


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipe") / "tiny.toml"
    path.write_text(RECIPE)
    return path


@pytest.fixture(scope="module")
def blind(tmp_path_factory: pytest.TempPathFactory, recipe: Path) -> Path:
    """A model that counts nothing: the easiest to be better than."""
    folder = tmp_path_factory.mktemp("blind")
    save_checkpoint(folder / "best", untrained(recipe))
    return folder / "best"


@pytest.fixture(scope="module")
def retrained(
    tmp_path_factory: pytest.TempPathFactory, archived: Path, recipe: Path, blind: Path
) -> tuple[Path, Result]:
    """A home where a candidate was trained, found better, and not promoted; and what was said. Copied for each test."""
    home = Path(shutil.copytree(archived, tmp_path_factory.mktemp("retrained") / "station"))
    return home, retrain_at(
        home, "--recipe", recipe, "--epochs", 8, "--set", "batch_size=1", "--base", blind, "--promote", "never"
    )


@pytest.fixture
def waiting(retrained: tuple[Path, Result], tmp_path: Path) -> Path:
    """The same home, as if the machine had gone down before the last step."""
    home = Path(shutil.copytree(retrained[0], tmp_path / "waiting"))
    (work_of(home) / "result.json").unlink()
    return home


def opened(home: Path) -> Store:
    return Store.open(f"sqlite:///{home / 'archive.db'}", home / "pixels")


def test_reviewed_cases_become_a_candidate_beside_the_serving_model(
    retrained: tuple[Path, Result], patients: list[str]
) -> None:
    home, done = retrained
    assert done.exit_code == 0, done.output
    work = work_of(home)
    held_out = {f"S-{n}" for n, patient in enumerate(patients) if patient in fixed_patients(patients)}
    assert {f.specimen for f in read_voc(work / "fields", split=FIXED).fields} == held_out
    comparison = json.loads((work / "comparison.json").read_text(encoding="utf-8"))
    assert comparison["verdict"] == "promote"
    assert comparison["fields"] == 10
    assert comparison["cells"] == 2 * 5 * ROWS * COLUMNS - 2
    assert {row["code"] for row in comparison["classes"]} == set(CODES)
    assert "Verdict: **promote**" in (work / "comparison.md").read_text(encoding="utf-8")
    # Its model has no reader, so none was trained.
    assert not (work / "reader").exists()
    for said in (
        "16 fields reviewed throughout",
        "10 fields of 2 specimens are the fixed set",
        "begins with the weights of blind",
        "Verdict: promote",
    ):
        assert said in done.output


def test_what_was_held_out_taught_nothing(retrained: tuple[Path, Result]) -> None:
    home, _ = retrained
    trained = load_checkpoint(work_of(home) / "run" / "best")
    fields = read_voc(work_of(home) / "fields", split="train").fields
    # The hash of its training data is that of some of the training fields, and so of no fixed one.
    parts = (combination for size in range(1, len(fields)) for combination in combinations(fields, size))
    assert trained.data_hash in {data_hash(part) for part in parts}
    # The bucket is a class of the model, so that its cells can be passed over.
    assert {cell.code for cell in trained.taxonomy} == {*CODES, "OTHER"}


def test_never_leaves_the_candidate_waiting_with_its_weights(retrained: tuple[Path, Result]) -> None:
    home, done = retrained
    result = json.loads((work_of(home) / "result.json").read_text(encoding="utf-8"))
    weights = home / result["path"] / "model.safetensors"
    assert hashlib.sha256(weights.read_bytes()).hexdigest() == result["digest"]
    assert weights.read_bytes() == (work_of(home) / "run" / "best" / "model.safetensors").read_bytes()
    with opened(home) as store:
        assert store.serving_model() is None
        (model,) = store.models()
        assert (model.digest, model.path, model.scheme) == (result["digest"], result["path"], "clinical")
        assert store.verify().ok
    assert result["promoted"] is False
    assert "not promoted" in done.output


@pytest.mark.parametrize(
    ("options", "stdin", "serves"),
    [
        (("--promote", "auto", "--by", "anna"), None, True),
        (("--promote", "ask", "--by", "anna"), "y\n", True),
        (("--promote", "ask"), "n\n", False),
        (("--promote", "ask"), "", False),
    ],
)
def test_a_better_candidate_serves_if_that_is_wanted(
    waiting: Path, options: tuple[str, ...], stdin: str | None, serves: bool
) -> None:
    done = retrain_at(waiting, "--resume", *options, stdin=stdin)
    assert done.exit_code == 0, done.output
    with opened(waiting) as store:
        model = store.serving_model()
        assert (model is not None) == serves
        assert len(store.models()) == 1
        told = [entry for entry in store.audit(limit=100, offset=0)[0] if entry.what == "model.promote"]
        assert [entry.who for entry in told] == (["anna"] if serves else [])
        assert all("macro F1 +" in entry.why for entry in told)
    assert json.loads((work_of(waiting) / "result.json").read_text())["promoted"] == serves
    # Nothing waits any more.
    again = retrain_at(waiting, "--resume")
    assert again.exit_code == 2
    assert "no retraining waits" in again.output


def test_taken_up_again_nothing_is_exported_or_trained_a_second_time(waiting: Path) -> None:
    work = work_of(waiting)
    before = {p: p.stat().st_mtime_ns for p in work.rglob("*") if p.is_file() and p.name.startswith(("field_", "best"))}
    done = retrain_at(waiting, "--resume", "--promote", "never")
    assert done.exit_code == 0, done.output
    assert "fields is there" in done.output
    assert "epoch 1/" not in done.output
    assert {p: p.stat().st_mtime_ns for p in before} == before


def test_a_run_stopped_in_training_goes_on_with_its_own_plan(
    home: Path, recipe: Path, blind: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train = loop.train

    def stopped(*arguments: Any, **options: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(loop, "train", stopped)
    asked = ("--recipe", recipe, "--base", blind, "--start", "recipe", "--set", "seed=4")
    first = retrain_at(home, *asked, "--promote", "never")
    assert first.exit_code == 130
    assert (work_of(home) / "fields").is_dir()
    assert not (work_of(home) / "result.json").exists()
    monkeypatch.setattr(loop, "train", train)
    done = retrain_at(home, "--resume", "--promote", "never")
    assert done.exit_code == 0, done.output
    kept = json.loads((work_of(home) / "run" / "recipe.json").read_text(encoding="utf-8"))
    assert (kept["name"], kept["seed"], kept["epochs"]) == ("tiny", 4, 1)
    # Its own start: anchors are fitted to these fields, not those of the model it is compared with.
    assert kept["model"]["anchor_sizes"] != [[12], [24], [48]]


def test_a_candidate_that_is_no_better_is_kept_back_whatever_is_asked(home: Path, waiting: Path, recipe: Path) -> None:
    """The model of the other home serves here; one that learned nothing stands no chance."""
    model = next((waiting / "models").iterdir())
    shutil.copytree(model, home / "models" / model.name)
    with opened(home) as store:
        version = store.add_model("good", "ab" * 32, "clinical", f"models/{model.name}", "", by="anna")
        store.promote(version.id, by="anna", why="it was better")
    done = retrain_at(home, "--recipe", recipe, "--set", "learning_rate=1e-9", "--promote", "auto")
    assert done.exit_code == 0, done.output
    assert "beside good" in done.output
    assert "Verdict: keep" in done.output
    with opened(home) as store:
        serving = store.serving_model()
    assert serving is not None
    assert serving.name == "good"


def test_a_dry_run_tells_and_keeps_nothing(home: Path, recipe: Path) -> None:
    before = sorted(p for p in home.rglob("*") if "archive.db" not in p.name)
    done = retrain_at(
        home, "--recipe", recipe, "--dry-run", "--specimen", "S-0", "--specimen", "S-2", "--specimen", "S-3"
    )
    assert done.exit_code == 0, done.output
    for said in ("9 fields reviewed throughout", "3 specimens", "segmented eosinophil", "learning_rate = 0.004"):
        assert said in done.output
    assert sorted(p for p in home.rglob("*") if "archive.db" not in p.name) == before


def test_extra_fields_are_trained_on_and_a_cell_left_open_keeps_its_field_out(
    home: Path, recipe: Path, waiting: Path
) -> None:
    with opened(home) as store:
        specimen = next(s.specimen for s in store.specimens()[0] if s.specimen.code == "S-2")
        image, cells = paint(99)
        slide = store.slides(specimen.id)[0]
        store.keep_field(slide.id, image, width=WIDTH, height=HEIGHT, found=cells, by="tim")
    done = retrain_at(home, "--recipe", recipe, "--dry-run", "--extra", work_of(waiting) / "fields")
    assert done.exit_code == 0, done.output
    assert "left out S-2, field 3: 12 of its cells were not reviewed" in done.output
    assert "6 fields of" in done.output


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (("--by", "tim", "--promote", "auto"), "tim is technician: promoting takes an admin"),
        (("--by", "nobody"), "nobody"),
        (("--specimen", "S-99"), "no specimen 'S-99'"),
        (("--resume",), "no retraining waits"),
        (("--recipe", "nowhere.toml"), "nowhere.toml"),
        (("--set", "learning=3"), "learning"),
        (("--extra", "nowhere"), "nowhere: no such folder"),
        (("--specimen", "S-0"), "belong to the fixed set"),
        (("--specimen", "S-2"), "no field is left to compare on"),
    ],
)
def test_what_cannot_be_is_said_before_any_training(home: Path, options: tuple[str, ...], says: str) -> None:
    done = retrain_at(home, *options)
    assert done.exit_code == 2, done.output
    assert says in done.output.replace("\n", " ")
    assert "epoch 1/" not in done.output
    # Nothing that could be gone on with is left behind.
    assert not list((home / "exports").glob("*"))


def test_a_folder_that_is_no_station_is_refused(tmp_path: Path) -> None:
    for home, says in ((tmp_path / "nowhere", "no such folder"), (tmp_path, "holds no archive.db")):
        done = retrain_at(home)
        assert done.exit_code == 2
        assert says in done.output
    assert not list(tmp_path.glob("archive*"))
