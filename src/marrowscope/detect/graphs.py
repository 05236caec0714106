"""Exported graphs on disk, beside the weights that they were made of.

    CHECKPOINT/model.safetensors
    CHECKPOINT/openvino/graphs.json        what they are, of which weights, and the hash of every file
    CHECKPOINT/openvino/dense.xml, ...

Graphs of other weights, or files that were changed or cut short, are refused: they would find cells, but others.
"""

import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from marrowscope import __version__
from marrowscope.errors import BadCheckpoint

RECORD = "graphs.json"
Precision = Literal["fp32", "int8"]


class GraphRecord(BaseModel):
    """What `graphs.json` says. kept_fp32: parts of the networks that int8 left as they were. files: SHA-256 by name."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    runtime: str
    precision: Precision
    weights: str
    """SHA-256 of the `model.safetensors` that the graphs were made of."""
    kept_fp32: tuple[str, ...] = ()
    files: dict[str, str] = {}
    marrowscope: str = __version__


def sha256_of(file: Path) -> str:
    """The hash of a file (hex)."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def write_graphs(folder: Path, record: GraphRecord, write: Callable[[Path], None]) -> GraphRecord:
    """Let `write` fill a folder aside, add the record, and put it in the place of `folder`, whole or not at all."""
    aside = folder.with_name(f".{folder.name}-{secrets.token_hex(6)}")
    aside.mkdir(parents=True)
    try:
        write(aside)
        files = {file.name: sha256_of(file) for file in sorted(aside.iterdir())}
        whole = record.model_copy(update={"files": files})
        (aside / RECORD).write_text(whole.model_dump_json(indent=1) + "\n", encoding="utf-8")
        for file in aside.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        shutil.rmtree(folder, ignore_errors=True)
        aside.replace(folder)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return whole


def read_record(folder: Path, weights: Path) -> GraphRecord | None:
    """What the graphs of a folder are; None where there are none.

    BadCheckpoint where they are not those of the file `weights`, or not as they were written.
    """
    if not folder.is_dir():
        return None
    again = "Export the checkpoint again, or delete that folder."
    try:
        record = GraphRecord.model_validate(json.loads((folder / RECORD).read_text(encoding="utf-8")))
    except (OSError, ValueError, ValidationError) as error:
        first = str(error).splitlines()[0]
        raise BadCheckpoint(f"{folder / RECORD}: cannot be read ({first}). {again}") from None
    if record.weights != sha256_of(weights):
        raise BadCheckpoint(f"{folder}: its graphs were made of other weights than {weights}. {again}")
    for name, digest in record.files.items():
        if not (folder / name).is_file() or sha256_of(folder / name) != digest:
            raise BadCheckpoint(f"{folder / name}: is missing, or not as it was exported. {again}")
    return record
