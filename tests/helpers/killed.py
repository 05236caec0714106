"""Kill a working archive at random moments, and see whether anything that it acknowledged is missing.

    python tests/helpers/killed.py URL PIXELS KILLS SEED

Forks a worker from this small warm process; the worker keeps fields, corrects, undoes, signs and amends, and writes a
line to a pipe after each call has returned. After a random number of lines and a random wait it gets SIGKILL; then the
archive is opened and checked, and every line is looked for. Prints a JSON object: kills, lines, problems.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.archive import PDF, PICTURE, new_case
from marrowscope.cells.specimen import Edit, EditKind, FoundCell, SpecimenState
from marrowscope.errors import NotFound
from marrowscope.store.store import Store

MOST_LINES, LONGEST_WAIT = 14, 0.02


def work(url: str, pixels: Path, pipe: int, seed: int) -> None:
    """Work until killed. Every line is written in one go, after what it tells of."""
    chance = random.Random(seed)
    store = Store.open(url, pixels)

    def acknowledge(what: str, **told: Any) -> None:
        os.write(pipe, f"{json.dumps({'what': what, **told})}\n".encode())

    case = new_case(store, f"M-{seed}")
    acknowledge("specimen", id=case.id)
    while True:
        for _ in range(chance.randint(1, 3)):
            found = [
                FoundCell((x, 5, x + 20, 40), "MYELO", chance.random(), chance.random()) for x in range(0, 120, 20)
            ]
            kept = case.keep(found, image=PICTURE + chance.randbytes(20_000))
            acknowledge("field", id=kept.id, image=kept.image, cells=len(store.field_cells(kept.id)))
            cells = chance.sample(case.cells(removed=False), 3)
            edits = [Edit(EditKind.RENAME, cell_id=cells[0].id, code=chance.choice(("BAND", "META", "LYM")))]
            edits += [Edit(EditKind.MOVE, cell_id=cells[1].id, box=(1, 1, 30, chance.uniform(10, 90)))]
            edits += [Edit(EditKind.ADD, field_id=kept.id, code="BLAST", box=(200, 1, 230, 40))]
            done = store.apply(case.id, edits, by="anna")
            acknowledge("edits", specimen=case.id, cells=[cell.id for cell in done], corrections=3)
            if chance.random() < 0.4:
                back = store.undo(case.id, by="anna")
                acknowledge("edits", specimen=case.id, cells=[cell.id for cell in back], corrections=3)
            accepted = store.accept_above(case.id, 0.8, by="ben")
            acknowledge("edits", specimen=case.id, cells=[], corrections=accepted)
        pdf = PDF + chance.randbytes(5000)
        report = store.sign(case.id, "{}", pdf, by="hana", meaning="approved")
        acknowledge("report", id=report.id, specimen=case.id, size=len(pdf))
        store.begin_amendment(case.id, "more cells", by="hana")
        acknowledge("amendment", specimen=case.id)


def missing(store: Store, lines: list[dict[str, Any]]) -> list[str]:
    """What was acknowledged and is not there."""
    problems = []
    corrections: dict[int, list[int]] = {}
    for line in lines:
        try:
            match line["what"]:
                case "specimen":
                    store.specimen(line["id"])
                case "field":
                    field = store.field(line["id"])
                    if field.image != line["image"] or not store.image(field.image).startswith(PICTURE):
                        problems.append(f"{line}: another picture")
                    if len([c for c in store.field_cells(field.id) if c.called]) != line["cells"]:
                        problems.append(f"{line}: other cells")
                case "report":
                    if len(store.report_pdf(line["id"])) != line["size"]:
                        problems.append(f"{line}: another PDF")
                case "amendment":
                    if store.specimen(line["specimen"]).state is SpecimenState.OPEN:
                        problems.append(f"{line}: never signed")
                case "edits":
                    told = corrections.setdefault(line["specimen"], [])
                    told += line["cells"] or [0] * line["corrections"]
        except NotFound as error:
            problems.append(f"{line}: {error}")
    for specimen, cells in corrections.items():
        kept = [correction.cell_id for correction in store.corrections(specimen)]
        # An undo tells its cells in another order than it corrects them; accepting tells only how many.
        if len(kept) < len(cells) or not set(cells) - {0} <= set(kept):
            problems.append(f"specimen {specimen}: {len(kept)} corrections of {len(cells)} acknowledged ones")
    return problems


def kill_once(url: str, pixels: Path, seed: int) -> list[dict[str, Any]]:
    """Let a worker work, kill it, and return what it acknowledged."""
    chance = random.Random(f"killer {seed}")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            work(url, pixels, writing, seed)
        except BaseException as error:
            os.write(writing, f"{json.dumps({'what': 'failure', 'told': repr(error)})}\n".encode())
        os._exit(1)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:  # noqa: PTH123 (a descriptor, not a path)
        lines = [pipe.readline() for _ in range(chance.randint(0, MOST_LINES))]
        time.sleep(chance.uniform(0, LONGEST_WAIT))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines += pipe.readlines()
    return [json.loads(line) for line in lines if line]


def main() -> None:
    url, pixels, kills, seed = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    Store.open(url, pixels).close()
    told, problems = [], []
    for number in range(kills):
        lines = kill_once(url, pixels, seed + number)
        told += lines
        problems += [line["told"] for line in lines if line["what"] == "failure"]
        with Store.open(url, pixels) as store:
            problems += store.check().problems
            problems += missing(store, lines)
        if problems:
            break
    with Store.open(url, pixels) as store:
        problems += missing(store, told)
        checked = store.check()
    print(json.dumps({"kills": number + 1, "lines": len(told), "problems": problems, "checked": str(checked)}))


if __name__ == "__main__":
    main()
