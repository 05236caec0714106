"""The log of a station: one JSON object a line, in `logs/station.log` of its home, old files put aside.

An exception is written as its kind and where it came from, never with its own words: these may hold what somebody
typed, a patient's code among it.
"""

import json
import logging
import time
import traceback
from logging.handlers import RotatingFileHandler
from pathlib import Path
from types import TracebackType

FILE_BYTES = 5_000_000
FILES = 8
_OURS = ("marrowscope", "uvicorn")


class JsonLines(logging.Formatter):
    """A record as one line of JSON. Times are UTC."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        said: dict[str, object] = {
            "at": at,
            "level": record.levelname.lower(),
            "who": record.name,
            "says": record.getMessage(),
        }
        if record.exc_info and record.exc_info[1] is not None:
            said["error"] = _story(record.exc_info[1])
        return json.dumps(said, ensure_ascii=False)


def _story(error: BaseException | None) -> list[dict[str, object]]:
    """The exception and what caused it, newest first: kind and frames."""
    story: list[dict[str, object]] = []
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        story.append({"kind": type(error).__name__, "at": _frames(error.__traceback__)})
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return story


def _frames(trace: TracebackType | None) -> list[str]:
    return [f"{Path(f.filename).name}:{f.lineno} {f.name}" for f in traceback.extract_tb(trace)[-12:]]


def open_log(home: Path) -> logging.Handler:
    """Write the log of this station from now on; give the handler to `close_log`."""
    folder = home / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    handler = RotatingFileHandler(folder / "station.log", maxBytes=FILE_BYTES, backupCount=FILES, encoding="utf-8")
    handler.setFormatter(JsonLines())
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
    return handler


def close_log(handler: logging.Handler) -> None:
    """Take it away again."""
    for name in _OURS:
        logging.getLogger(name).removeHandler(handler)
    handler.close()
