import pytest

from marrowscope.station.timings import Rate, Timings, in_words, spread_of


def test_the_newest_and_the_spread_of_every_stage_are_known() -> None:
    timings = Timings(remembered=100)
    for n in range(1, 101):
        timings.note("track", float(n))
    timings.note("grab", 7.0)
    assert timings.newest() == {"track": 100.0, "grab": 7.0}
    spread = timings.spreads()["track"]
    assert spread.p50 == pytest.approx(50.5)
    assert spread.p95 == pytest.approx(95.05)
    assert spread.most == 100
    assert spread.times == 100
    assert in_words({"track": spread}) == "track 50/95 ms"


def test_what_is_long_past_is_forgotten() -> None:
    timings = Timings(remembered=3)
    for value in (1000.0, 1.0, 2.0, 3.0):
        timings.note("encode", value)
    assert timings.spreads()["encode"].most == 3


def test_a_stage_that_fails_is_measured_all_the_same() -> None:
    timings = Timings()
    with pytest.raises(KeyError), timings.measure("correct"):
        raise KeyError
    assert timings.newest()["correct"] >= 0


def test_nothing_measured_has_no_spread() -> None:
    assert spread_of([]) == (0, 0, 0, 0)


@pytest.mark.parametrize("fps", [1, 20, 60])
def test_a_steady_beat_has_its_rate(fps: int) -> None:
    rate = Rate()
    beats = [rate.tick(100 + n / fps) for n in range(5 * fps)]
    assert beats[0] == 0
    assert beats[-1] == pytest.approx(fps)


def test_the_rate_follows_a_change_within_two_seconds() -> None:
    rate = Rate(over_s=2.0)
    for n in range(100):
        rate.tick(n / 30)
    last = 99 / 30
    after = [rate.tick(last + n / 10) for n in range(1, 25)]
    assert after[-1] == pytest.approx(10)
