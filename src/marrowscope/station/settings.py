"""What a station is told once: `station.toml` in its home folder. Written with comments on the first run."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from marrowscope.cells.files import write_atomically
from marrowscope.errors import BadSetting

FILE = "station.toml"

DEFAULT = """\
# Settings of this marrowscope station. Lines that begin with # show what holds without them.
# After a change, start the station again. Letterhead, reference ranges and stop rule are set on the admin page.

# Where the page is served. Any other host than 127.0.0.1 takes a certificate, or insecure_lan = true.
# host = "127.0.0.1"
# port = 8420
# tls_cert = "station.crt"     # PEM; relative to this folder
# tls_key = "station.key"
# insecure_lan = false         # true: passwords and pictures cross the network unencrypted
# hosts = []                   # further names under which browsers call this machine, e.g. ["scope1.lab.local"]

# The microscope that the live page offers first, and further ones. `marrowscope doctor` lists what it sees.
# camera = "simulated"
# cameras = []                 # e.g. ["uvc:0", "basler:21568021"]

# The detector: "real", "demo", or a folder such as "models/2026-05/best"; relative to this folder.
# model = "real"               # left out: "demo" (drawn cells) for the simulated microscope, "real" for others
# live_model = "real"          # a lighter one for the moving view; model then sees what is kept alone
# runtime = "auto"             # what computes: torch, openvino, onnx, or the quickest that is installed
# score = 0.5                  # cells below it are not shown; left out: what the model's validation chose

# The classes: a built-in scheme, or a TOML file of the lab's own.
# scheme = "clinical"

# The archive: left out, archive.db in this folder; or a PostgreSQL server.
# archive = "postgresql+pg8000://user:password@server/marrowscope"

# A session ends after so long without a click, and after so long whatever happens.
# idle_minutes = 60
# session_hours = 12

# Uploaded pictures: largest file, largest picture.
# upload_mb = 64
# upload_megapixels = 64
"""

Port = Annotated[int, Field(ge=0, le=65535)]


class StationSettings(BaseModel):
    """See `DEFAULT` for what each means. port 0: one that is free. Paths are relative to the home folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: Port = 8420
    tls_cert: Path | None = None
    tls_key: Path | None = None
    insecure_lan: bool = False
    hosts: tuple[str, ...] = ()
    camera: str = "simulated"
    cameras: tuple[str, ...] = ()
    model: str | None = None
    live_model: str | None = None
    runtime: Literal["auto", "torch", "openvino", "onnx"] = "auto"
    score: Annotated[float, Field(ge=0, le=1)] | None = None
    scheme: str = "clinical"
    archive: str | None = None
    idle_minutes: Annotated[float, Field(gt=0, le=24 * 60)] = 60
    session_hours: Annotated[float, Field(gt=0, le=24 * 7)] = 12
    upload_mb: Annotated[float, Field(gt=0, le=1024)] = 64
    upload_megapixels: Annotated[float, Field(gt=0, le=500)] = 64

    @model_validator(mode="after")
    def _both_halves(self) -> "StationSettings":
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key go together: give both, or neither")
        return self

    @property
    def detector(self) -> str:
        """The model that is named, else the shipped one that fits the microscope: a simulated one shows drawn cells."""
        return self.model or ("demo" if self.camera.partition("?")[0] == "simulated" else "real")

    @property
    def tls(self) -> bool:
        """Whether the page is served encrypted."""
        return self.tls_cert is not None

    def inside(self, home: Path) -> "StationSettings":
        """With the paths of certificate and key as seen from anywhere."""
        if self.tls_cert is None or self.tls_key is None:
            return self
        return self.model_copy(update={"tls_cert": home / self.tls_cert, "tls_key": home / self.tls_key})

    def changed(self, **values: Any) -> "StationSettings":
        """With these values where they are not None, checked anew. BadSetting for one that cannot be used."""
        given = {key: value for key, value in values.items() if value is not None}
        return _checked(self.model_dump() | given, "the command line")


def _checked(values: dict[str, Any], where: str) -> StationSettings:
    try:
        return StationSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        entry = ".".join(str(part) for part in first["loc"]) or "settings"
        raise BadSetting(f"{where}, {entry}: {first['msg']}. Correct it; {FILE} explains every entry.") from None


def load_settings(home: Path) -> StationSettings:
    """The settings of a station; where its home has no file yet, one that explains every entry is written.

    BadSetting: the file is no TOML, or has an unknown or impossible entry.
    """
    path = home / FILE
    if not path.exists():
        home.mkdir(parents=True, exist_ok=True)
        write_atomically(path, DEFAULT)
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadSetting(f"{path}: not readable as TOML ({error}). Correct the line, or remove the file.") from None
    return _checked(values, str(path))
