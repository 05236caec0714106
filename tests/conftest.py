"""Where the tests find real data, and what every test shares."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples at every run: a failure in CI is a failure at the desk.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")
os.environ.setdefault("MPLBACKEND", "Agg")


@pytest.fixture(scope="session", autouse=True)
def _a_cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Converted networks go nowhere near the cache of whoever runs the tests; child processes inherit it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("MARROWSCOPE_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder with `pbc_fields` and `bccd`: $MARROWSCOPE_DATA, else ../shared/data beside the checkout."""
    root = Path(os.environ.get("MARROWSCOPE_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not root.is_dir():
        pytest.skip(f"real data not found at {root}: set MARROWSCOPE_DATA to the folder that holds pbc_fields and bccd")
    return root
