"""`marrowscope train` in two processes under torchrun: one detector, one run folder, one story told."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from helpers.tiny import TINY, painted_folder
from marrowscope.model.checkpoint import load_checkpoint
from marrowscope.training.loop import LOG
from marrowscope.training.state import STATE

SCRIPT = """
import os, signal, sys
import torch
from safetensors.torch import save_file
from marrowscope.cli import main
from marrowscope.training import loop

kill_at, weights, place = int(os.environ["KILL_AT"]), os.environ["WEIGHTS"], int(os.environ["RANK"])
run, seen = loop._Trainer.run, 0

def told(trainer):
    step = trainer.on_step
    def on_step(report):
        global seen
        seen += 1
        if seen == kill_at and place == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        step(report)
    trainer.on_step = on_step
    done = run(trainer)
    bare = trainer.accelerator.unwrap_model(trainer.model)
    kept = {name: value.detach().contiguous() for name, value in bare.named_parameters()}
    save_file(kept, f"{weights}-{place}.safetensors")
    return done

loop._Trainer.run = told
main()
"""


@pytest.fixture(scope="module")
def fields(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("painted")
    painted_folder(folder, range(5), held_out=(6, 7))  # 5: the two cannot have the same number of fields
    return folder


def torchrun(fields: Path, out: Path, *options: str, kill_at: int = 0, script: str = SCRIPT):
    """Train in two processes, the second killed after so many of its steps; each leaves its weights beside `out`."""
    path = out.parent / "two.py"
    path.write_text(script)
    values = [*TINY, "batch_size=1", "model.ranking_scope=all processes", "save_minutes=1e-9"]
    words = [
        "train",
        str(fields),
        "--recipe",
        "light",
        "--out",
        str(out),
        "--device",
        "cpu",
        "--threads",
        "1",
        *options,
    ]
    words += [word for value in values for word in ("--set", value)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "KILL_AT": str(kill_at), "WEIGHTS": str(out)}
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    return subprocess.run(
        [sys.executable, *launcher, str(path), *words], env=environment, capture_output=True, text=True, timeout=300
    )


def weights_of(out: Path, place: int) -> dict[str, torch.Tensor]:
    return load_file(f"{out}-{place}.safetensors")


def test_two_processes_leave_one_run_and_tell_it_once(fields, tmp_path):
    out = tmp_path / "run"
    done = torchrun(fields, out)
    assert done.returncode == 0, done.stderr
    assert [done.stdout.count(f"epoch {n}/2") for n in (1, 2)] == [1, 1]
    assert "2 epochs of 3 steps, on cpu, 2 processes" in done.stdout
    assert [json.loads(line)["epoch"] for line in (out / LOG).read_text().splitlines()] == [1, 2]
    assert len(list((out / "tensorboard").glob("events*"))) == 2  # one an epoch
    first, second = (weights_of(out, place) for place in (0, 1))
    assert [name for name in first if not torch.equal(first[name], second[name])] == []
    last = load_checkpoint(out / "last")
    assert {"val_ap50", "val_f1"} <= last.metrics.keys()
    # Levelling moves the biases of the classes alone.
    name = "heads.box_head.fc6.weight"
    torch.testing.assert_close(last.weights[name].float(), first[name], atol=1e-2, rtol=0)


@pytest.mark.slow
def test_two_processes_of_which_one_was_killed_go_on_to_the_weights_of_an_uninterrupted_run(fields, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    assert torchrun(fields, whole).returncode == 0
    assert torchrun(fields, cut, kill_at=4).returncode != 0
    done = torchrun(fields, cut, "--resume")
    assert done.returncode == 0, done.stderr
    for place in (0, 1):
        expected, found = weights_of(whole, place), weights_of(cut, place)
        assert [name for name in expected if not torch.equal(expected[name], found[name])] == []
    assert [json.loads(line)["epoch"] for line in (cut / LOG).read_text().splitlines()] == [1, 2]


LESS = """
import os
from dataclasses import replace
from marrowscope.cli import fields
read = fields.read_for_training
def less(*words, **options):
    data = read(*words, **options)
    return replace(data, training=data.training[1:]) if os.environ["RANK"] == "1" else data
fields.read_for_training = less
"""


@pytest.mark.slow
def test_processes_that_see_different_fields_are_told_so_instead_of_waiting(fields, tmp_path):
    """As on two machines whose copies of the folder differ: the second is shown one field less."""
    done = torchrun(fields, tmp_path / "run", script=LESS + SCRIPT)
    assert done.returncode != 0
    assert "do not see the same fields, recipe and run" in done.stderr
    assert not (tmp_path / "run" / STATE).exists()
