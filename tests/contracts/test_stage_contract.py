"""What every stage promises, whoever made it.

To add a driver: a function that gives a `Rig` (a context manager), and a line in STAGES.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from marrowscope.errors import InstrumentError
from marrowscope.instrument.micromanager import MicromanagerCamera, MicromanagerStage
from marrowscope.instrument.simulated import SimulatedMicroscope
from marrowscope.instrument.stage import Position, Stage
from marrowscope.smear.slide import SmearSlide


@dataclass
class Rig:
    """A stage, and how far from its target it may stop (um): the step of its motor."""

    stage: Stage
    precision_um: float = 1e-6


@contextmanager
def simulated() -> Iterator[Rig]:
    with SmearSlide(1, width_um=2000, height_um=2000) as slide:
        stage = SimulatedMicroscope(slide, width=64, height=64, stage_um_per_s=20_000).stage
        assert stage is not None
        yield Rig(stage)


@contextmanager
def micromanager() -> Iterator[Rig]:
    adapters = pytest.importorskip("mm_test_adapters", reason="Micro-Manager's demonstration devices are not there")
    folder = Path(str(adapters.device_adapter_path()))
    with MicromanagerCamera(folder / "MMConfig_demo.cfg", adapters=folder) as camera:
        yield Rig(MicromanagerStage(camera), precision_um=0.02)


STAGES = [pytest.param(simulated, id="simulated"), pytest.param(micromanager, id="Micro-Manager")]
Factory = Callable[[], AbstractContextManager[Rig]]


@pytest.fixture(params=STAGES)
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    with request.param() as made:
        yield made


def between(low: Position, high: Position, share: float) -> Position:
    """A place within the limits, no farther than 400 um (z: 20 um) from the middle: a stage takes its time."""
    reach = (400.0, 400.0, 20.0)
    places = []
    for a, b, most in zip(low, high, reach, strict=True):
        half = min((b - a) / 2, most)
        places.append((a + b) / 2 + (2 * share - 1) * half)
    return Position(*places)


def test_it_is_a_stage_and_stands_within_its_limits(rig: Rig):
    assert isinstance(rig.stage, Stage)
    low, high = rig.stage.limits_um
    for a, here, b in zip(low, rig.stage.position_um, high, strict=True):
        assert a <= here <= b


@pytest.mark.parametrize("share", [0.1, 0.9, 0.5])
def test_it_arrives_where_it_is_sent_and_says_so(rig: Rig, share: float):
    target = between(*rig.stage.limits_um, share)
    arrived = rig.stage.move_to_um(*target)
    assert arrived == pytest.approx(target, abs=rig.precision_um)
    assert rig.stage.position_um == pytest.approx(target, abs=rig.precision_um)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
def test_an_axis_that_is_left_out_stays(rig: Rig, axis: str):
    limits = rig.stage.limits_um
    start = rig.stage.move_to_um(*between(*limits, 0.4))
    n = "xyz".index(axis)
    goal = between(*limits, 0.6)[n]
    arrived = rig.stage.move_to_um(**{axis: goal})
    expected = list(start)
    expected[n] = goal
    assert arrived == pytest.approx(tuple(expected), abs=2 * rig.precision_um)


def test_nothing_asked_nothing_moved(rig: Rig):
    before = rig.stage.position_um
    assert rig.stage.move_to_um() == pytest.approx(before, abs=rig.precision_um)


@pytest.mark.parametrize("axis", ["x", "y", "z"])
@pytest.mark.parametrize("side", [0, 1])
def test_beyond_its_limits_it_refuses_and_does_not_move(rig: Rig, axis: str, side: int):
    before = rig.stage.position_um
    beyond = rig.stage.limits_um[side]["xyz".index(axis)] + (-50 if side == 0 else 50)
    # Another axis that could go stays too.
    other = "y" if axis == "x" else "x"
    inside = between(*rig.stage.limits_um, 0.7)["xyz".index(other)]
    with pytest.raises(InstrumentError):
        rig.stage.move_to_um(**{axis: beyond, other: inside})
    assert rig.stage.position_um == pytest.approx(before, abs=rig.precision_um)


def test_two_threads_may_send_it_and_one_goes_after_the_other(rig: Rig):
    limits = rig.stage.limits_um
    goals = [between(*limits, share) for share in (0.2, 0.8)]
    arrived: dict[int, Position] = {}

    def send(n: int) -> None:
        arrived[n] = rig.stage.move_to_um(*goals[n])

    threads = [threading.Thread(target=send, args=(n,)) for n in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for n in (0, 1):
        assert arrived[n] == pytest.approx(goals[n], abs=rig.precision_um)
    assert any(rig.stage.position_um == pytest.approx(goal, abs=rig.precision_um) for goal in goals)
