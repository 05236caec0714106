import threading
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from marrowscope.station.mailbox import Mailbox


@given(st.lists(st.integers(), min_size=1, max_size=30))
def test_only_the_newest_item_is_there(items: list[int]) -> None:
    box: Mailbox[int] = Mailbox()
    numbers = [box.put(item) for item in items]
    letter = box.newest()
    assert letter is not None
    assert letter.item == items[-1]
    assert letter.number == numbers[-1]
    assert numbers == sorted(set(numbers))


@given(st.lists(st.integers(-5, 50), min_size=1, max_size=30))
def test_numbers_rise_whatever_number_an_item_brings(brought: list[int]) -> None:
    box: Mailbox[int] = Mailbox()
    given_numbers = [box.put(n, n) for n in brought]
    assert all(b > a for a, b in pairwise(given_numbers))
    if brought == sorted(set(brought)) and brought[0] >= 0:
        assert given_numbers == brought


def test_a_slow_reader_misses_what_came_between() -> None:
    box: Mailbox[str] = Mailbox()
    first = box.put("a")
    for later in "bcd":
        box.put(later)
    letter = box.after(first, timeout_s=0)
    assert letter is not None
    assert letter.item == "d"


def test_a_reader_that_has_the_newest_waits_for_the_next() -> None:
    box: Mailbox[str] = Mailbox()
    number = box.put("old")
    assert box.after(number, timeout_s=0) is None
    got: list[str] = []
    reading = threading.Thread(target=lambda: got.append(box.after(number, timeout_s=30).item))  # type: ignore[union-attr]
    reading.start()
    box.put("new")
    reading.join(30)
    assert got == ["new"]


def test_many_writers_never_share_a_number() -> None:
    box: Mailbox[int] = Mailbox()
    numbers: list[list[int]] = [[] for _ in range(4)]
    start = threading.Barrier(4)

    def write(k: int) -> None:
        start.wait()
        numbers[k] = [box.put(k) for _ in range(500)]

    writers = [threading.Thread(target=write, args=(k,)) for k in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    together = [n for own in numbers for n in own]
    assert sorted(together) == list(range(2000))


def test_closing_lets_every_waiting_reader_go() -> None:
    box: Mailbox[int] = Mailbox()
    answers: list[object] = []
    readers = [threading.Thread(target=lambda: answers.append(box.after(-1, timeout_s=60))) for _ in range(3)]
    for reader in readers:
        reader.start()
    box.close()
    for reader in readers:
        reader.join(30)
    assert answers == [None, None, None]
