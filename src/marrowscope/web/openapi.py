"""The OpenAPI description of the HTTP interface: `python -m marrowscope.web.openapi > frontend/openapi.json`.

The page's client is generated from it. Needs no archive and no camera.
"""

import json
import sys
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from marrowscope.web import problems
from marrowscope.web.schemas.live import StreamHeader


def description(app: FastAPI) -> dict[str, Any]:
    """The description of an app. OpenAPI has no place for the header of the live stream: it stands with the types."""
    said = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    types = said["components"]["schemas"]
    header = StreamHeader.model_json_schema(mode="serialization", ref_template="#/components/schemas/{model}")
    for name, schema in header.pop("$defs", {}).items():
        types.setdefault(name, schema)
    types["StreamHeader"] = header
    _share_problems(said)
    # FastAPI adds these for its own 422, which is not ours.
    types.pop("HTTPValidationError", None)
    types.pop("ValidationError", None)
    return said


def _share_problems(said: dict[str, Any]) -> None:
    """Name each kind of error once: every route lists them all, and 60 copies of them are no reading."""
    shared = said["components"].setdefault("responses", {})
    for path in said["paths"].values():
        for operation in path.values():
            for status in set(operation["responses"]) & {str(s) for s in problems.DECLARED}:
                shared[f"Problem{status}"] = operation["responses"][status]
                operation["responses"][status] = {"$ref": f"#/components/responses/Problem{status}"}


def as_text() -> str:
    """As it stands in the repository."""
    from marrowscope.web.app import describe

    return json.dumps(describe(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(as_text())
