"""A camera that plays a recording: a folder of pictures or a video file. For work and tests without a microscope.

Pictures come at a given rate by the clock, so a reader that is slow misses some, as with any camera. It has no
controls: software corrects.
"""

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from marrowscope.errors import BadImage, BadSetting, CameraLost, NotOffered
from marrowscope.instrument.camera import CameraInfo, Control, Frame, Range
from marrowscope.instrument.faults import Clock, WallClock

_PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
_VIDEOS = (".avi", ".mp4", ".mkv", ".mov", ".webm", ".mpg", ".mpeg")
_RATE = 30.0
_TIMEOUT_S = 2.0

Pixels = NDArray[np.uint8]


class _Recording(Protocol):
    size: tuple[int, int]
    count: int
    fps: float | None

    def picture(self, index: int) -> Pixels: ...

    def close(self) -> None: ...


class ReplayCamera:
    """Plays `path` at `fps` pictures a second; None takes the video's own rate, 30 for a folder.

    loop: begin again after the last picture; otherwise CameraLost then says that the recording is over. BadSetting
    where the path is neither a folder with pictures nor a video, BadImage for a picture that cannot be read or is of
    another size than the first.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        fps: float | None = None,
        loop: bool = True,
        um_per_px: float | None = None,
        clock: Clock | None = None,
    ) -> None:
        if fps is not None and not fps > 0:
            raise BadSetting(f"replay of {path}: fps must be above 0, got {fps:g}.")
        self._path, self._wish, self._loop, self._um_per_px = Path(path), fps, loop, um_per_px
        self._clock: Clock = clock or WallClock()
        self._news = threading.Condition()
        self._decoding = threading.Lock()
        self._recording: _Recording | None = None
        self._started, self._fps = 0.0, _RATE

    @property
    def info(self) -> CameraInfo:
        """Named after the path. Valid while open."""
        width, height = self._playing().size
        return CameraInfo(f"Replay of {self._path.name}", "replay", self._path.name, width, height, self._um_per_px)

    @property
    def controls(self) -> dict[Control, Range]:
        """None."""
        return {}

    def get(self, control: Control) -> float:
        """NotOffered."""
        raise NotOffered(f"a recording has no control '{control}': correct its pictures in software.")

    def set(self, control: Control, value: float) -> float:
        """NotOffered."""
        return self.get(control)

    def frames(self) -> Iterator[Frame]:
        """The picture whose turn it is, again and again."""
        recording, after = self._playing(), -1
        while (number := self._wait(recording, after)) is not None:
            yield self._frame(recording, number)
            after = number

    def snap(self) -> Frame:
        """The next picture whose time begins after this call."""
        recording = self._playing()
        number = self._wait(recording, self._number_at(self._clock.now()) + 1)
        if number is None:
            raise CameraLost(f"the replay of {self._path} was closed while a picture was taken. Open it again.")
        return self._frame(recording, number)

    def __enter__(self) -> Self:
        recording = _open(self._path)
        with self._news:
            if self._recording is not None:
                recording.close()
                raise CameraLost(f"the replay of {self._path} is open already. Close it first.")
            self._recording = recording
            self._fps = self._wish or recording.fps or _RATE
            # The first picture is there at once.
            self._started = self._clock.now() - 1 / self._fps
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._news:
            recording, self._recording = self._recording, None
            self._news.notify_all()
        if recording is not None:
            with self._decoding:
                recording.close()

    def _playing(self) -> _Recording:
        if (recording := self._recording) is None:
            raise CameraLost(f"the replay of {self._path} is not open. Enter its context first.")
        return recording

    def _number_at(self, now: float) -> int:
        """Number of the last picture whose time has ended, -1 before the first."""
        return int((now - self._started) * self._fps + 1e-9) - 1

    def _wait(self, recording: _Recording, after: int) -> int | None:
        with self._news:
            while self._recording is recording:
                now = self._clock.now()
                number = self._number_at(now)
                if not self._loop:
                    if after >= recording.count - 1:
                        raise CameraLost(f"the recording {self._path} is over. Open it again to see it once more.")
                    number = min(number, recording.count - 1)
                if number > after:
                    return number
                ready = self._started + (after + 2) / self._fps
                self._clock.wait(self._news, max(min(ready - now, _TIMEOUT_S), 0.0005))
        return None

    def _frame(self, recording: _Recording, number: int) -> Frame:
        with self._decoding:
            if self._recording is not recording:
                raise CameraLost(f"the replay of {self._path} was closed while a picture was read. Open it again.")
            pixels = recording.picture(number % recording.count)
        return Frame(pixels, number, self._started + (number + 1) / self._fps, self._um_per_px)


def _open(path: Path) -> _Recording:
    if path.is_dir():
        return _Folder(path)
    if path.is_file() and path.suffix.lower() in _VIDEOS:
        return _Video(path)
    if not path.exists():
        raise CameraLost(f"{path}: there is nothing to replay. Give a folder of pictures or a video file.")
    raise BadSetting(f"{path}: not a video that can be replayed ({', '.join(_VIDEOS)}), nor a folder of pictures.")


class _Folder:
    """Pictures by name."""

    def __init__(self, folder: Path) -> None:
        self._files = sorted(f for f in folder.iterdir() if f.suffix.lower() in _PICTURES and f.is_file())
        if not self._files:
            raise BadSetting(f"{folder}: no pictures to replay. Pictures end in {', '.join(_PICTURES)}.")
        self.count = len(self._files)
        self.fps: float | None = None
        self.size = _size_of(self._files[0])
        for file in self._files:
            if (size := _size_of(file)) != self.size:
                raise BadImage(
                    f"{file}: {size[0]} x {size[1]} px, but {self._files[0].name} has {self.size[0]} x {self.size[1]}. "
                    "A recording needs pictures of one size; move this one elsewhere."
                )

    def picture(self, index: int) -> Pixels:
        file = self._files[index]
        try:
            # Not imread: it cannot open every path on Windows.
            pixels = cv2.imdecode(np.fromfile(file, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        except (OSError, cv2.error) as error:
            raise BadImage(f"{file}: cannot be read ({error}). Copy it anew or move it elsewhere.") from error
        if pixels is None or pixels.shape[1::-1] != self.size:
            raise BadImage(f"{file}: cannot be decoded as it should. Copy it anew or move it elsewhere.")
        return np.asarray(pixels, np.uint8)

    def close(self) -> None:
        pass


def _size_of(file: Path) -> tuple[int, int]:
    try:
        with Image.open(file) as image:
            return image.size
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise BadImage(f"{file}: not a picture ({error}). Move it elsewhere.") from error


class _Video:
    """A film, read forward; pictures that are not wanted are skipped."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._film = cv2.VideoCapture(str(file))
        width, height = (int(self._film.get(p)) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT))
        self.size, self.count = (width, height), int(self._film.get(cv2.CAP_PROP_FRAME_COUNT))
        rate = float(self._film.get(cv2.CAP_PROP_FPS))
        self.fps = rate if 0 < rate < 1000 else None
        self._next = 0
        if not self._film.isOpened() or width < 1 or self.count < 1:
            self._film.release()
            raise BadImage(f"{file}: cannot be opened as a video. Convert it, for example to MJPEG in .avi.")

    def picture(self, index: int) -> Pixels:
        if index < self._next:
            self._film.set(cv2.CAP_PROP_POS_FRAMES, 0)
            self._next = 0
        while self._next < index and self._film.grab():
            self._next += 1
        whole, pixels = self._film.read()
        if not whole:
            raise BadImage(f"{self._file}: picture {index} of {self.count} cannot be decoded. Convert the video anew.")
        self._next = index + 1
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)

    def close(self) -> None:
        self._film.release()
