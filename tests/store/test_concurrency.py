"""Many at once, in threads and in processes: changes queue up, the chain stays whole, nothing is lost."""

import subprocess
import sys
import threading
from collections.abc import Callable

from helpers.archive import kept_case
from helpers.places import Place
from marrowscope.cells.specimen import Edit, EditKind
from marrowscope.errors import Conflict
from marrowscope.store.store import Store

PROCESS = """
import sys
from pathlib import Path
from marrowscope.store.store import Store
url, pixels, who = sys.argv[1:]
with Store.open(url, Path(pixels)) as store:
    for number in range(6):
        specimen = store.add_specimen(f"{who}-{number}", "P-1", by=who)
        slide = store.add_slide(specimen.id, "A", by=who)
        store.keep_field(slide.id, b"\\xff\\xd8\\xff" + who.encode(), width=10, height=10, by=who)
"""


def at_once(work: Callable[[int], None], threads: int) -> list[BaseException]:
    """Run in so many threads, which begin together. Returns what they raised."""
    gate, raised = threading.Barrier(threads), []

    def run(number: int) -> None:
        try:
            gate.wait()
            work(number)
        except BaseException as error:
            raised.append(error)

    running = [threading.Thread(target=run, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return raised


def test_threads_keep_and_correct_side_by_side(store: Store) -> None:
    case = kept_case(store)
    cell = case.cells()[0]

    def work(number: int) -> None:
        who = f"reader{number}"
        for turn in range(6):
            case.keep(image=b"\xff\xd8\xff" + f"{number} {turn}".encode(), by=who)
            case.rename(cell, f"C{number}{turn}", by=who)
            store.audit(5)
            store.specimens()

    assert at_once(work, 6) == []
    assert [field.number for field in store.fields(case.id)] == list(range(1, 38))
    assert len(store.corrections(case.id)) == 36
    assert store.check().ok


def test_of_two_who_saw_the_same_cell_one_is_told_of_the_conflict(store: Store) -> None:
    case = kept_case(store)
    cell = case.cells()[0]

    def rename(number: int) -> None:
        seen = Edit(EditKind.RENAME, cell.id, code=f"C{number}", expected=cell.code)
        store.apply(case.id, [seen], by=f"reader{number}")

    raised = at_once(rename, 5)
    assert [type(error) for error in raised] == [Conflict] * 4
    assert len(store.corrections(case.id)) == 1


def test_a_code_that_two_ask_for_at_once_is_given_once(store: Store) -> None:
    raised = at_once(lambda number: store.add_specimen("M-1", f"P-{number}", by="anna") and None, 5)
    assert [type(error) for error in raised] == [Conflict] * 4
    assert store.specimens()[1] == 1


def test_processes_write_side_by_side(place: Place) -> None:
    workers = [
        subprocess.Popen([sys.executable, "-c", PROCESS, place.url, str(place.pixels), who]) for who in ("a", "b", "c")
    ]
    assert [worker.wait(300) for worker in workers] == [0, 0, 0]
    with place.open() as store:
        assert store.specimens()[1] == 18
        assert store.audit(1)[1] == 54
        assert store.check().ok


def test_readers_do_not_wait_for_a_writer(place: Place) -> None:
    from marrowscope.store import database

    with place.open() as store:
        case = kept_case(store)
        engine = place.engine()
        with database.writing(engine):
            assert store.specimen(case.id) == case.specimen
            assert store.cells(case.id)[1] == 4
            assert store.verify().ok
        engine.dispose()
