"""Check an archive that may be closed, damaged or in use: what `marrowscope archive check` and `doctor` do."""

from pathlib import Path

from marrowscope.store.integrity import Advance
from marrowscope.store.store import Store
from marrowscope.store.values import IntegrityReport


def check_archive(url: str, pixels: Path, *, quick: bool = False, progress: Advance | None = None) -> IntegrityReport:
    """See `Store.check`. Makes and migrates nothing: BadInput where there is no archive."""
    with Store.open(url, pixels, create=False) as store:
        return store.check(quick=quick, progress=progress)
