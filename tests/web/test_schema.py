"""The OpenAPI description: as it lies in the repository, and kept word for word by every route (schemathesis)."""

import os
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from helpers.station import Station, station
from marrowscope.web import openapi
from marrowscope.web.app import describe as describe_anew

FRONTEND = Path(__file__).parents[2] / "frontend" / "openapi.json"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    negative_data_rejection,
    unsupported_method,
    allow_header_conformance,
]
# These end the session that the next request needs.
LEFT_OUT = {"logout", "set_password"}
describe = cache(describe_anew)
OPERATIONS = sorted(
    (path, method)
    for path, operations in describe()["paths"].items()
    for method, operation in operations.items()
    if operation["operationId"] not in LEFT_OUT
)
THERE = {"specimen_id": 1, "field_id": 1, "cell_id": 1, "report_id": 1, "model_id": 1, "name": "tess"}
"""Things that are there, so that a request reaches more than the first 404."""


def test_the_description_in_the_repository_is_up_to_date() -> None:
    assert FRONTEND.read_text(encoding="utf-8") == openapi.as_text(), (
        "run: python -m marrowscope.web.openapi > frontend/openapi.json"
    )


def test_every_route_says_what_it_does_and_what_may_go_wrong() -> None:
    for path, operations in describe()["paths"].items():
        for method, operation in operations.items():
            assert operation["description"].strip(), (method, path)
            assert {"400", "413", "422", "500"} <= set(operation["responses"]), (method, path)


def test_an_operation_has_a_name_of_its_own() -> None:
    names = [o["operationId"] for operations in describe()["paths"].values() for o in operations.values()]
    assert len(names) == len(set(names))


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Station]:
    """A station with a case that is open, and one that is signed."""
    with station(tmp_path_factory.mktemp("schema"), hosts=("testserver",)) as made:
        _, slide = made.case("S-1")
        made.field(slide, 1)
        signed, slide = made.case("S-2")
        made.field(slide, 2)
        made.works.store.sign(signed.id, "{}", b"%PDF-1.7\n%%EOF\n", by="hanna", meaning="approved")
        yield made


@pytest.fixture(scope="module")
def people(lab: Station) -> dict[str, dict[str, str]]:
    """Headers of somebody who is signed in."""
    return {name: _headers(lab.client(name)) for name in ("ada", "hanna")}


def _headers(client: TestClient) -> dict[str, str]:
    cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
    return {"cookie": cookies, "x-csrf-token": client.headers["x-csrf-token"]}


@pytest.fixture(scope="module")
def schema(lab: Station) -> Any:
    """The description, of the running app. Who may come in is `test_permissions`' business: cookies are left alone."""
    said = deepcopy(describe())
    del said["components"]["securitySchemes"]
    for operations in said["paths"].values():
        for operation in operations.values():
            operation.pop("security", None)
    loaded = schemathesis.openapi.from_dict(said)
    loaded.app = lab.app
    return loaded


def hold_to_its_word(schema: Any, headers: dict[str, str], path: str, method: str, *, examples: int) -> None:
    """Send this operation what its schema permits, and what it forbids, and judge every answer."""
    operation = schema[path][method]
    cases = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))

    @seed(26)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases, there=st.booleans())
    def run(case: Any, there: bool) -> None:
        if there and case.path_parameters and case.meta.generation.mode is GenerationMode.POSITIVE:
            case.path_parameters |= {k: v for k, v in THERE.items() if k in case.path_parameters}
        response = case.call(headers=headers)
        case.validate_response(response, checks=CHECKS, headers=headers)

    run()


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_route_keeps_to_its_description(
    schema: Any, people: dict[str, dict[str, str]], path: str, method: str
) -> None:
    who = "hanna" if path.endswith(("/sign", "/amend")) else "ada"
    hold_to_its_word(schema, people[who], path, method, examples=int(os.environ.get("MARROWSCOPE_EXAMPLES", "4")))


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize(("path", "method"), OPERATIONS)
def test_every_route_keeps_to_its_description_for_long(
    schema: Any, people: dict[str, dict[str, str]], path: str, method: str
) -> None:
    who = "hanna" if path.endswith(("/sign", "/amend")) else "ada"
    hold_to_its_word(schema, people[who], path, method, examples=200)
