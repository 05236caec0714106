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


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Processes for `-n auto`: as many as cores, eight at most; for single files, and what is slow, none but this."""
    single = any(".py" in argument for argument in config.args)
    return 0 if single or config.option.markexpr == "slow" else min(os.cpu_count() or 1, 8)


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
