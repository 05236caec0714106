"""Which cameras are seen, driver by driver.

Each driver looks in a process of its own: a vendor's library that hangs or crashes there takes nobody with it, and two
of them may not bear each other in one process.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass

from marrowscope.errors import MarrowscopeError, MissingExtra
from marrowscope.instrument.camera import SeenCamera

TIMEOUT_S = 20.0


@dataclass(frozen=True)
class DriverState:
    """What came of looking with one driver. problem: why nothing can be seen with it, empty where it works.

    hint: how a camera is asked for.
    """

    driver: str
    hint: str
    installed: bool
    cameras: tuple[SeenCamera, ...]
    problem: str


def _uvc() -> list[SeenCamera]:
    from marrowscope.instrument.opencv_camera import find

    return find()


def _genicam() -> list[SeenCamera]:
    from marrowscope.instrument.genicam import find

    return find()


def _micromanager() -> list[SeenCamera]:
    from marrowscope.instrument.micromanager import find

    return find()


def _basler() -> list[SeenCamera]:
    from marrowscope.instrument.basler import find

    return find()


DRIVERS: dict[str, tuple[Callable[[], list[SeenCamera]], str]] = {
    "uvc": (_uvc, "uvc:0, uvc:/dev/video0 or uvc:rtsp://..."),
    "genicam": (_genicam, "genicam:PRODUCER.cti#DEVICE"),
    "micromanager": (_micromanager, "micromanager:CONFIG.cfg"),
    "basler": (_basler, "basler:SERIAL"),
}


def look(driver: str, *, timeout_s: float = TIMEOUT_S) -> DriverState:
    """The cameras that one driver sees. Never raises for what the driver does: that is what it reports."""
    hint = DRIVERS[driver][1]
    try:
        done = subprocess.run(  # noqa: S603 (our own words)
            [sys.executable, "-m", "marrowscope.assemble.discovery", driver],
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return DriverState(driver, hint, True, (), f"it did not answer within {timeout_s:.0f} s")
    lines = done.stdout.strip().splitlines()
    try:
        said = json.loads(lines[-1])
        cameras = tuple(SeenCamera(**camera) for camera in said["cameras"])
        return DriverState(driver, hint, bool(said["installed"]), cameras, str(said["problem"]))
    except (IndexError, ValueError, KeyError, TypeError):
        return DriverState(driver, hint, True, (), f"it crashed (exit code {done.returncode})")


def look_everywhere() -> list[DriverState]:
    """All drivers, one after the other."""
    return [look(driver) for driver in DRIVERS]


def main(driver: str) -> None:
    """What the process of one driver does: look, and say what came of it as the last line."""
    installed, problem, cameras = True, "", []
    try:
        cameras = [asdict(camera) for camera in DRIVERS[driver][0]()]
    except MissingExtra as error:
        installed, problem = False, str(error)
    except MarrowscopeError as error:
        problem = str(error)
    except Exception as error:  # vendors' libraries raise what they like
        problem = f"{type(error).__name__}: {error}"
    sys.stdout.write("\n" + json.dumps({"installed": installed, "problem": problem, "cameras": cameras}) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
