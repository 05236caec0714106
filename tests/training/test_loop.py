import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from helpers.tiny import TAXONOMY, painted_folder, tiny_recipe
from marrowscope.data.voc import read_voc
from marrowscope.errors import BadInput, BadRecipe, TrainingDiverged
from marrowscope.model.checkpoint import load_checkpoint
from marrowscope.training.loop import LOG, train
from marrowscope.training.state import STATE

TESTS = str(Path(__file__).parents[1])
SETTINGS = ("save_minutes=1e-9",)  # the state is saved at every step


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("painted")
    painted_folder(folder, range(6), held_out=(6, 7))
    return folder


def train_in(folder: Path, out: Path, *settings: str, **options):
    fields, held_out = (read_voc(folder, split=s).fields for s in ("train", "val"))
    recipe = tiny_recipe(*SETTINGS, *settings)
    return train(fields, held_out, TAXONOMY, recipe, out, device="cpu", **options)


@pytest.fixture(scope="module")
def uninterrupted(folder, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "whole"
    child(folder, out, kill_at=None)
    return out


CHILD = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from helpers.tiny import TAXONOMY, tiny_recipe
from marrowscope.data.voc import read_voc
from marrowscope.training import loop
folder, out, kill_at, resume, *settings = sys.argv[1:]
seen = 0
def on_step(report):
    global seen
    seen += 1
    if seen == int(kill_at):
        os.kill(os.getpid(), signal.SIGKILL)
if int(kill_at) < 0:  # in the middle of writing the state, after so many whole ones
    save, left = loop.save_state, -int(kill_at)
    def torn(target, state):
        global left
        left -= 1
        if left == 0:
            (target / ".state-torn.safetensors").write_bytes(b"half")
            os.kill(os.getpid(), signal.SIGKILL)
        save(target, state)
    loop.save_state = torn
fields, held_out = (read_voc(Path(folder), split=s).fields for s in ("train", "val"))
loop.train(fields, held_out, TAXONOMY, tiny_recipe(*settings), Path(out), device="cpu",
           resume=resume == "resume", on_step=on_step)
"""


def child(folder: Path, out: Path, *, kill_at: int | None, resume: bool = False, settings=SETTINGS):
    """Train in a process of its own, killed after `kill_at` steps (negative: while the state is written)."""
    words = [str(folder), str(out), str(kill_at or 0), "resume" if resume else "fresh", *settings]
    script = out.parent / "child.py"
    script.write_text(CHILD)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([TESTS, *sys.path]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), *words], env=environment, capture_output=True, text=True, timeout=300
    )
    if kill_at:
        assert done.returncode == -signal.SIGKILL, done.stderr
    else:
        assert done.returncode == 0, done.stderr
    return done


def same_run(a: Path, b: Path) -> None:
    """Bit for bit the same weights, optimiser and checkpoints, and the same figures in the log."""
    for name in (STATE, "last/model.safetensors", "best/model.safetensors"):
        ours, theirs = load_file(a / name), load_file(b / name)
        assert ours.keys() == theirs.keys()
        assert [k for k in ours if not torch.equal(ours[k], theirs[k])] == [], name
    logs = [[json.loads(line) for line in (x / LOG).read_text().splitlines()] for x in (a, b)]
    for line in logs[0] + logs[1]:
        line.pop("seconds")
        line.pop("val_seconds")
    assert logs[0] == logs[1]


SLOW = [pytest.param(at, marks=pytest.mark.slow) for at in (1, 2, 5, -4, -2)]


@pytest.mark.parametrize("kill_at", [3, *SLOW])
def test_a_killed_run_goes_on_to_the_very_weights_of_an_uninterrupted_one(folder, uninterrupted, tmp_path, kill_at):
    child(folder, tmp_path / "run", kill_at=kill_at)
    child(folder, tmp_path / "run", kill_at=None, resume=True)
    same_run(uninterrupted, tmp_path / "run")


@pytest.mark.slow
def test_the_baseline_resumes_bit_for_bit_too_although_it_draws_samples(folder, tmp_path):
    settings = (*SETTINGS, "model.loss=softmax")
    child(folder, tmp_path / "whole", kill_at=None, settings=settings)
    child(folder, tmp_path / "cut", kill_at=2, settings=settings)
    child(folder, tmp_path / "cut", kill_at=None, settings=settings, resume=True)
    same_run(tmp_path / "whole", tmp_path / "cut")


def test_a_run_leaves_checkpoints_a_log_line_an_epoch_and_curves(uninterrupted):
    lines = [json.loads(line) for line in (uninterrupted / LOG).read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2]
    assert {"val_ap50", "val_f1", "score_threshold", "learning_rate", "seconds", "loss"} <= lines[0].keys()
    best = load_checkpoint(uninterrupted / "best")
    assert load_checkpoint(uninterrupted / "last").epoch == 2
    assert best.metrics["val_ap50"] == max(line["val_ap50"] for line in lines)
    assert best.calibration is not None
    assert best.confusion is not None
    assert best.taxonomy == TAXONOMY
    assert len(best.data_hash) == 64
    assert best.model.anchor_sizes != "fit"
    assert list((uninterrupted / "tensorboard").glob("events*"))


def test_a_finished_run_is_not_overwritten(folder, uninterrupted):
    with pytest.raises(BadInput, match="Pass --resume"):
        train_in(folder, uninterrupted)


def test_another_recipe_cannot_resume_a_run(folder, uninterrupted):
    with pytest.raises(BadRecipe, match="recipe differs"):
        train_in(folder, uninterrupted, "epochs=3", resume=True)


def test_resuming_a_finished_run_changes_nothing(folder, uninterrupted):
    before = (uninterrupted / "last" / "model.safetensors").read_bytes()
    assert train_in(folder, uninterrupted, resume=True).last["epoch"] == 2
    assert (uninterrupted / "last" / "model.safetensors").read_bytes() == before


def test_a_loss_that_is_not_finite_stops_with_the_fields_names(folder, tmp_path):
    with pytest.raises(TrainingDiverged, match=r"epoch \d, fields painted_\d+"):
        train_in(folder, tmp_path, "learning_rate=1e30", "optimiser=sgd", "clip_norm=0", "epochs=9")


def test_fields_without_any_cell_are_refused(folder, tmp_path):
    fields = [f.only(f.difficult) for f in read_voc(folder, split="train").fields]
    with pytest.raises(BadInput, match="no labelled cell"):
        train(fields, (), TAXONOMY, tiny_recipe(), tmp_path, device="cpu")


def test_without_validation_fields_the_last_epoch_is_the_best(folder, tmp_path):
    train(read_voc(folder, split="train").fields, (), TAXONOMY, tiny_recipe(), tmp_path, device="cpu")
    assert load_checkpoint(tmp_path / "best").epoch == 2


def test_accumulated_steps_halve_the_optimiser_steps(folder, tmp_path):
    seen = []
    train_in(folder, tmp_path, "batch_size=1", "accumulate=2", "epochs=1", on_step=lambda r: seen.append(r))
    assert [r.step_in_epoch for r in seen] == [1, 2, 3, 4, 5, 6]
    assert len({r.learning_rate for r in seen}) == 3
