"""Slides looked at by a Ray cluster: one that runs already, or one of this machine alone.

Every batch is a task for one core, which any machine may do: Ray starts it where there is room, and again elsewhere if
its machine is lost. Only so many batches are out at a time as keep all cores busy, so neither this process nor the
cluster ever holds a whole slide. What a batch gave comes back here, and here alone it is stored: once, however often
the batch was begun (`slide_table`). Why tasks and not actors: docs/decisions/0036-slides-on-a-cluster.md.

Machines must see slides and model under the same paths and have the same versions. What differs is refused, not mixed.
"""

import os
import socket
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.metadata import version
from types import TracebackType
from typing import Any, Self

from marrowscope.assemble.detectors import use_threads
from marrowscope.assemble.slide_work import AHEAD, SlideJob, look_elsewhere, prepare
from marrowscope.detect.slide_run import Batch, SlidePlan, Work
from marrowscope.detect.slide_tiles import Looked
from marrowscope.errors import BadInput, MarrowscopeError, MissingExtra

ATTEMPTS = 5
"""How often a batch whose machine or process was lost is begun anew; one that kills every worker ends the run."""
CONNECT_SECONDS = 5.0
STORE_BYTES = 256 * 2**20
"""Memory for results on their way, of a cluster that is begun here; a batch gives some hundred kilobytes."""


@dataclass(frozen=True)
class SlideWork:
    """What the engine has done elsewhere; both must give the same wherever they run."""

    prepare: Callable[[SlideJob], SlidePlan] = prepare
    look: Callable[[SlideJob, SlidePlan, Batch], Looked] = look_elsewhere


class RayEngine:
    """Workers of a cluster, for several slides one after the other."""

    def __init__(
        self, address: str | None, *, workers: int = 0, device: str = "auto", slide_work: SlideWork | None = None
    ) -> None:
        """Join the cluster, or begin one here.

        address: `host:6379` of a cluster that this machine belongs to, `ray://host:10001` of any other, `auto` for the
        one that this machine belongs to; None begins one on this machine. workers: at most so many at once; 0 takes all
        there are. MissingExtra without Ray; BadInput where the cluster cannot be joined or has nothing to compute with.
        """
        self._ray = _ray()
        self._work = slide_work or SlideWork()
        self._most = workers
        _join(self._ray, address, workers)
        try:
            self._unit = self._unit_of(device)
        except BadInput:
            self.close()
            raise
        options = {"num_cpus": 1, "num_gpus": int(self._unit == "GPU"), "max_retries": ATTEMPTS}
        self._task = self._ray.remote(**options)(_do)

    def prepare(self, job: SlideJob) -> SlidePlan:
        """`slide_work.prepare`, somewhere in the cluster."""
        plan: SlidePlan = self._result(self._begin(self._work.prepare, self._on_device(job)))
        return plan

    def work(self, job: SlideJob, plan: SlidePlan) -> Work:
        """An engine for `run_slide`; machines that join or leave meanwhile are reckoned with."""
        job = self._on_device(job)

        def work(batches: Iterable[Batch]) -> Iterator[tuple[Batch, Looked]]:
            waiting = iter(batches)
            out: dict[Any, Batch] = {}
            try:
                while True:
                    while len(out) < AHEAD * self.slots() and (batch := next(waiting, None)) is not None:
                        out[self._begin(self._work.look, job, plan, batch)] = batch
                    if not out:
                        return
                    (done, *_), _ = self._ray.wait(list(out))
                    yield out.pop(done), self._result(done)
            finally:
                for task in out:
                    self._ray.cancel(task)

        return work

    def slots(self) -> int:
        """How many batches can be looked at in one moment, now; at least one, so that a lost cluster is noticed."""
        there = int(self._ray.cluster_resources().get(self._unit, 0))
        return max(min(there, self._most) if self._most else there, 1)

    def close(self) -> None:
        """Leave the cluster, which forgets what is still to do; end it if it was begun here."""
        self._ray.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _unit_of(self, device: str) -> str:
        there = self._ray.cluster_resources()
        if device == "cuda" and not there.get("GPU"):
            raise BadInput("--device cuda: no machine of the cluster offers a GPU. Choose --device cpu.")
        if not there.get("CPU"):
            raise BadInput("the cluster offers no core to compute with. Start a worker: ray start --address HOST:6379.")
        # Ray hides GPUs from whoever did not ask for one.
        return "GPU" if device == "cuda" or (device == "auto" and there.get("GPU")) else "CPU"

    def _on_device(self, job: SlideJob) -> SlideJob:
        return replace(job, device="cuda" if self._unit == "GPU" else "cpu")

    def _begin(self, what: Callable[..., Any], *given: Any) -> Any:
        return self._task.remote(version("marrowscope"), what, *given)

    def _result(self, task: Any) -> Any:
        lost = self._ray.exceptions
        try:
            return self._ray.get(task)
        except lost.RayTaskError as error:
            raise _our_error(error.cause) from None
        except (lost.RaySystemError, lost.RuntimeEnvSetupError) as error:
            raise BadInput(f"a machine of the cluster cannot begin a batch: {_last_line(error)}") from None
        except lost.RayError as error:
            raise MarrowscopeError(
                f"the cluster could not finish a batch in {ATTEMPTS + 1} attempts ({type(error).__name__}: "
                f"{_last_line(error)}). What was finished is kept: see to the machines, their memory first, "
                "and give the same command again."
            ) from None


def _do(known: str, what: Callable[..., Any], *given: Any) -> Any:
    """A task: `what(*given)`, with one thread, if this machine has the version that the driver has."""
    here = version("marrowscope")
    if here != known:
        raise BadInput(
            f"{socket.gethostname()} has marrowscope {here}, and the machine that asks has {known}. "
            "Install one version on all machines of the cluster."
        )
    _one_thread()
    return what(*given)


@lru_cache
def _one_thread() -> None:
    import cv2

    cv2.setNumThreads(1)
    use_threads(1)


def _our_error(cause: BaseException) -> BaseException:
    """What a task failed with, as said to a user; a fault of ours stays what it is."""
    if isinstance(cause, ModuleNotFoundError):
        return BadInput(
            f"a machine of the cluster lacks a package ({cause}). "
            "Install the same marrowscope, with the same extras, on all of them."
        )
    return cause


def _join(ray: Any, address: str | None, workers: int) -> None:
    quietly = {"logging_level": "ERROR", "log_to_driver": False}
    if address is None:
        try:
            ray.init(
                address="local",
                num_cpus=workers or None,
                include_dashboard=False,
                object_store_memory=STORE_BYTES,
                **quietly,
            )
        except (RuntimeError, OSError, ValueError) as error:
            raise BadInput(
                f"no cluster can be begun on this machine ({_last_line(error)}). Use --engine local."
            ) from None
        return
    _reach(address)
    try:
        ray.init(address=address, **quietly)
    except (RuntimeError, ConnectionError, ValueError, ray.exceptions.RayError) as error:
        if "ersion" in str(error):
            raise BadInput(
                f"--address {address}: the cluster has other versions of Ray or Python than this machine "
                f"({_last_line(error)}). Install the same on all machines."
            ) from None
        raise BadInput(
            f"--address {address}: cannot be joined ({_last_line(error)}). Give host:6379 of a cluster to which this "
            "machine belongs (`ray status` shows it), or ray://host:10001 of any other."
        ) from None


def _reach(address: str) -> None:
    """BadInput where nobody listens at the address: Ray itself would go on asking for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon and address == "auto":
        return
    if not (colon and host and port.isdigit()):
        raise BadInput(f"--address {address}: give host:6379, ray://host:10001, or auto.")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise BadInput(
            f"--address {address}: nobody answers there ({error}). "
            "Is the cluster up (`ray start --head`), and its port open to this machine?"
        ) from None


def _ray() -> Any:
    # Read when Ray is imported, here and in all that it starts: nothing is told to anybody.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise MissingExtra("a cluster needs Ray. pip install 'marrowscope[cluster]', or --engine local.") from None
    return ray


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
