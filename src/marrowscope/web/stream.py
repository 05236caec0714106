"""The live picture on its way to browsers: pictures with boxes over a WebSocket, plain ones as MJPEG.

A message of the WebSocket is [uint32 big-endian: length n][n bytes of JSON, `StreamHeader`][JPEG]. The client answers
each with the text `ok NUMBER`, and is then sent the newest view there is: it never lags behind more than one picture,
however slow it is. The socket is closed with 4401 (not signed in any more), 4409 (no microscope runs) or 4408 (no
answer came for a while); whoever comes from a foreign page is not let in at all.
"""

import asyncio
import contextlib
import json
import struct
import time
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from fastapi import WebSocket
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool
from starlette.websockets import WebSocketDisconnect

from marrowscope.web.sessions import SESSION_COOKIE, own_origin

if TYPE_CHECKING:
    from marrowscope.station.live_view import LiveView
    from marrowscope.web.feed import Watcher
    from marrowscope.web.microscope import Running
    from marrowscope.web.services import Services

NOT_SIGNED_IN, NOTHING_RUNS, NO_ANSWER, FOREIGN = 4401, 4409, 4408, 1008
ANSWER_S = 15.0
"""How long a client may take to show a picture."""
CHECK_S = 20.0
"""How often it is asked whether the person is still signed in."""
BOUNDARY = "marrowscope-frame"


def packed(view: "LiveView", kept: int, now: float) -> bytes:
    """One message. now: `time.monotonic()` seconds."""
    overlay, position = view.overlay, view.position
    header = {
        "number": view.number,
        "captured_unix_ms": view.captured_unix_ms,
        "age_ms": round((now - view.captured_at) * 1000, 1),
        "width": view.width,
        "height": view.height,
        "stale": view.stale,
        "stale_s": round(view.stale_s, 2),
        "fps": round(view.fps, 2),
        "focus": view.focus,
        "clipped": round(view.clipped, 5),
        "timings_ms": {stage: round(ms, 2) for stage, ms in view.timings_ms.items()},
        "position": None if position is None else {"x_um": round(position[0], 2), "y_um": round(position[1], 2)},
        "visit": view.visit,
        "overlay": {
            "frame": overlay.frame_number,
            "age_ms": round(overlay.age_ms, 1),
            "cells": [
                {
                    "id": cell.track_id,
                    "x1": round(float(cell.box[0]), 1),
                    "y1": round(float(cell.box[1]), 1),
                    "x2": round(float(cell.box[2]), 1),
                    "y2": round(float(cell.box[3]), 1),
                    "code": cell.code,
                    "score": round(float(cell.score), 3),
                    "counted": cell.counted,
                }
                for cell in overlay.cells
            ],
        },
        "unique": dict(view.unique_cells),
        "kept": kept,
    }
    text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
    return b"".join((struct.pack(">I", len(text)), text, view.jpeg))


async def _signed_in(connection: WebSocket, works: "Services") -> bool:
    token = connection.cookies.get(SESSION_COOKIE)
    return await run_in_threadpool(works.sessions.find, token) is not None


async def serve(socket: WebSocket, works: "Services") -> None:
    """Stream to one client until it leaves, its session ends, or the microscope stops."""
    if not own_origin(socket, required=True):
        await socket.close(FOREIGN)
        return
    signed_in = await _signed_in(socket, works)
    await socket.accept()
    running = works.microscope.now
    if not signed_in or running is None:
        await socket.close(NOTHING_RUNS if signed_in else NOT_SIGNED_IN)
        return
    with contextlib.suppress(WebSocketDisconnect), running.feed.watch() as watcher:
        await socket.close(await _stream(socket, works, watcher))


async def _stream(socket: WebSocket, works: "Services", watcher: "Watcher[LiveView]") -> int:
    """Send until something ends it; the code to close with."""
    answers = asyncio.create_task(_listen(socket, ready := asyncio.Event()))
    try:
        checked = time.monotonic()
        while True:
            news = asyncio.create_task(watcher.next())
            await asyncio.wait([news, answers], return_when=asyncio.FIRST_COMPLETED)
            if not news.done():
                news.cancel()
                answers.result()
            if (view := await news) is None:
                return NOTHING_RUNS
            ready.clear()
            await socket.send_bytes(packed(view, works.microscope.kept, time.monotonic()))
            answered = asyncio.create_task(ready.wait())
            await asyncio.wait([answered, answers], timeout=ANSWER_S, return_when=asyncio.FIRST_COMPLETED)
            answered.cancel()
            if answers.done():
                answers.result()
            if not ready.is_set():
                return NO_ANSWER
            if time.monotonic() - checked > CHECK_S:
                checked = time.monotonic()
                if not await _signed_in(socket, works):
                    return NOT_SIGNED_IN
    finally:
        answers.cancel()
        with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect):
            await answers


async def _listen(socket: WebSocket, ready: asyncio.Event) -> None:
    """Take answers. Raises WebSocketDisconnect when the client leaves."""
    while True:
        text = await socket.receive_text()
        if text.startswith("ok"):
            ready.set()


def mjpeg(works: "Services", token: str | None) -> StreamingResponse:
    """The picture alone, as one endless answer. Conflict where no microscope runs."""
    running = works.microscope.running()
    return StreamingResponse(
        _frames(works, running, token),
        media_type=f"multipart/x-mixed-replace; boundary={BOUNDARY}",
        headers={"cache-control": "no-store", "x-accel-buffering": "no"},
    )


async def _frames(works: "Services", running: "Running", token: str | None) -> AsyncIterator[bytes]:
    checked = time.monotonic()
    with running.feed.watch() as watcher:
        while (view := await watcher.next()) is not None:
            head = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(view.jpeg)}\r\n\r\n"
            yield head.encode() + view.jpeg + b"\r\n"
            if time.monotonic() - checked > CHECK_S:
                checked = time.monotonic()
                if await run_in_threadpool(works.sessions.find, token) is None:
                    return
