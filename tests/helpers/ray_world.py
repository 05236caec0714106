"""The slide of `slide_world` looked at by a real Ray cluster, in a process of its own: Ray warns and leaves threads.

    python tests/helpers/ray_world.py one FOLDER      a cluster that is begun for it; then a slide that cannot be read
    python tests/helpers/ray_world.py lose FOLDER     two nodes, of which one is killed when a third is done

Prints a JSON object: what was begun where, and what was said.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from helpers.slide_world import Discs, draw_discs, plan_for
from marrowscope.assemble.ray_engine import RayEngine, SlideWork
from marrowscope.assemble.slide_work import SlideJob
from marrowscope.detect.slide_run import Batch, SlidePlan, SlideProgress, look_batch, run_slide
from marrowscope.detect.slide_tiles import Looked
from marrowscope.errors import BadSlide
from marrowscope.slide.array_slide import ArraySlide

DOOMED, IN_HAND = "doomed", "in hand"
"""Files beside the notes: which node is about to be killed, and that it has a batch to lose."""


def ray_slide() -> ArraySlide:
    return ArraySlide(draw_discs(3, 1700, 1500), "discs", um_per_px=0.25)


def plan(job: SlideJob) -> SlidePlan:
    if job.slide != "discs":
        raise BadSlide(f"{job.slide}: is damaged")
    return plan_for(ray_slide())


def look(job: SlideJob, plan: SlidePlan, batch: Batch) -> Looked:
    """Slowly, and leaving a note of where: job.model is the folder of notes."""
    import ray

    node = ray.get_runtime_context().get_node_id()
    with (Path(job.model) / node).open("a", encoding="utf-8") as notes:
        notes.write(f"{batch.number}\n")
    time.sleep(0.4)
    looked = look_batch(ray_slide(), Discs(), plan, batch, ahead=False)
    doomed = Path(job.model).parent / DOOMED
    if doomed.exists() and doomed.read_text() == node:
        # What it has in hand is never handed over, however late the axe falls.
        doomed.with_name(IN_HAND).touch()
        time.sleep(60)
    return looked


def notes(folder: Path) -> list[list[int]]:
    return [[int(line) for line in note.read_text().splitlines()] for note in sorted(folder.iterdir())]


def one(folder: Path, job: SlideJob) -> dict[str, Any]:
    with RayEngine(None, workers=1, slide_work=SlideWork(plan, look)) as engine:
        run = run_slide(engine.prepare(job), engine.work(job, engine.prepare(job)), folder / "run")
        try:
            engine.prepare(SlideJob("torn.svs", job.model))
        except BadSlide as error:
            return {"begun": notes(Path(job.model)), "cells": run.cells, "said": str(error), "slots": engine.slots()}
    raise AssertionError("a damaged slide was not noticed")


def lose(folder: Path, job: SlideJob) -> dict[str, Any]:
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 80 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    second = cluster.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    cluster.wait_for_nodes()
    killed: list[int] = []

    def kill(far: SlideProgress) -> None:
        if killed or far.done < far.total // 3:
            return
        (folder / DOOMED).write_text(second.node_id)
        until = time.monotonic() + 5
        while not (folder / IN_HAND).exists():
            if time.monotonic() > until:
                return  # it has nothing to do; it will have later
            time.sleep(0.01)
        cluster.remove_node(second, allow_graceful=False)
        killed.append(far.done)

    try:
        with RayEngine(cluster.address, slide_work=SlideWork(plan, look)) as engine:
            slots = [engine.slots()]
            run = run_slide(engine.prepare(job), engine.work(job, engine.prepare(job)), folder / "run", progress=kill)
            slots.append(engine.slots())
    finally:
        cluster.shutdown()
    return {"begun": notes(Path(job.model)), "cells": run.cells, "killed": killed, "slots": slots, "total": run.tiles}


def main() -> None:
    folder = Path(sys.argv[2])
    (folder / "notes").mkdir()
    job = SlideJob("discs", str(folder / "notes"))
    print(json.dumps({"one": one, "lose": lose}[sys.argv[1]](folder, job)))


if __name__ == "__main__":
    # By its name, as the workers import it.
    from helpers import ray_world

    ray_world.main()
