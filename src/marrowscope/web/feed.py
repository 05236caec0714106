"""One reader of the live session, many watchers: each gets the newest view when it is ready for one.

The session's `newest` blocks, and watchers live on an event loop. So one thread waits for the session, and wakes them;
a watcher that is slow misses views, and never gets an old one.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Generic, NamedTuple, Protocol, TypeVar

log = logging.getLogger(__name__)

WAIT_S = 0.5


class Numbered(Protocol):
    """Whatever is fed."""

    @property
    def number(self) -> int:
        """Counts up."""
        ...


V = TypeVar("V", bound=Numbered)


class News(NamedTuple, Generic[V]):
    """A view, and its place in the order in which the feed got them."""

    serial: int
    view: V


class Feed(Generic[V]):
    """newest(after, timeout_s): the newest view with a number above `after`, waiting for it.

    After the timeout None, or the last view again where it has something new to say: that it is stale.
    """

    def __init__(self, newest: Callable[[int, float], V | None]) -> None:
        self._newest = newest
        self._news: News[V] | None = None
        self._ended = threading.Event()
        self._watchers: set[Watcher[V]] = set()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="live feed", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Nothing more comes."""
        return self._ended.is_set()

    @property
    def news(self) -> News[V] | None:
        """The newest so far."""
        return self._news

    @property
    def view(self) -> V | None:
        """The newest view so far."""
        news = self._news
        return None if news is None else news.view

    @property
    def watchers(self) -> int:
        """How many watch it now."""
        return len(self._watchers)

    def close(self) -> None:
        """End it, and let every watcher know. Called from any thread but a watcher's."""
        self._ended.set()
        self._wake()
        self._thread.join(timeout=5)

    @contextlib.contextmanager
    def watch(self) -> Iterator["Watcher[V]"]:
        """A watcher, for the event loop that runs here."""
        watcher = Watcher(self, asyncio.get_running_loop())
        with self._lock:
            self._watchers.add(watcher)
        try:
            yield watcher
        finally:
            with self._lock:
                self._watchers.discard(watcher)

    def _run(self) -> None:
        after = serial = -1
        while not self._ended.is_set():
            try:
                view = self._newest(after, WAIT_S)
            except Exception:
                log.exception("the live session cannot be read any more")
                self._ended.set()
                break
            if view is not None:
                after, serial = view.number, serial + 1
                self._news = News(serial, view)
                self._wake()
        self._wake()

    def _wake(self) -> None:
        with self._lock:
            watchers = list(self._watchers)
        for watcher in watchers:
            watcher.wake()


class Watcher(Generic[V]):
    """One client of a feed."""

    def __init__(self, feed: Feed[V], loop: asyncio.AbstractEventLoop) -> None:
        self._feed, self._loop = feed, loop
        self._bell = asyncio.Event()
        self._had = -1

    def wake(self) -> None:
        """There is something new. Called from the feed's thread."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: its client is gone
            self._loop.call_soon_threadsafe(self._bell.set)

    async def next(self) -> V | None:
        """The newest view that this watcher has not had, waiting for it; None once the feed has ended."""
        while True:
            self._bell.clear()
            if self._feed.ended:
                return None
            news = self._feed.news
            if news is not None and news.serial > self._had:
                self._had = news.serial
                return news.view
            await self._bell.wait()
