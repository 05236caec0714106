"""A camera that lacks some controls: another camera, with these hidden."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from marrowscope.errors import NotOffered
from marrowscope.instrument.camera import Camera, CameraInfo, Control, Frame, Range


class PlainCamera:
    def __init__(self, inner: Camera, *, offers: tuple[Control, ...] = ()) -> None:
        self._inner, self._offers = inner, offers

    @property
    def info(self) -> CameraInfo:
        return self._inner.info

    @property
    def controls(self) -> dict[Control, Range]:
        return {c: r for c, r in self._inner.controls.items() if c in self._offers}

    def get(self, control: Control) -> float:
        if control not in self._offers:
            raise NotOffered(f"no {control}")
        return self._inner.get(control)

    def set(self, control: Control, value: float) -> float:
        if control not in self._offers:
            raise NotOffered(f"no {control}")
        return self._inner.set(control, value)

    def frames(self) -> Iterator[Frame]:
        return self._inner.frames()

    def snap(self) -> Frame:
        return self._inner.snap()

    def __enter__(self) -> Self:
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inner.__exit__(kind, error, trace)
