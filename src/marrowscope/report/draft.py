"""The words of a report before it is signed: as the archive keeps them, and what is suggested at first."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from marrowscope.cells.specimen import Cell, KeptField
from marrowscope.cells.taxonomy import Taxonomy
from marrowscope.report.build import Words
from marrowscope.report.content import Language

SUGGESTED_FIELDS = 2
SUGGESTED_CELLS = 3
"""Of each class, in a gallery that nobody has chosen yet."""


def suggest(fields: Sequence[KeptField], cells: Sequence[Cell], scheme: Taxonomy) -> Words:
    """Pictures that nobody has chosen yet: the fields with most cells, and of each class the least doubtful cells.

    Reviewed cells come before others.
    """
    number = {f.id: 0 for f in fields}
    for cell in cells:
        number[cell.field_id] = number.get(cell.field_id, 0) + 1
    richest = sorted((f for f in fields if number[f.id]), key=lambda f: (-number[f.id], f.number))[:SUGGESTED_FIELDS]
    chosen: list[int] = []
    for code in (c.code for c in scheme):
        mine = sorted((c for c in cells if c.code == code), key=lambda c: (not c.reviewed, c.doubt, c.id))
        chosen += [c.id for c in mine[:SUGGESTED_CELLS]]
    return Words(fields=tuple(sorted(f.id for f in richest)), gallery=tuple(chosen))


def words_to_json(said: Words) -> str:
    """As the archive keeps a draft."""
    values = {
        "conclusion": said.conclusion,
        "comments": said.comments,
        "language": said.language.value,
        "fields": list(said.fields),
        "gallery": list(said.gallery),
    }
    return json.dumps(values, ensure_ascii=False, sort_keys=True)


def words_from_json(text: str) -> Words:
    """Read what `words_to_json` wrote; an entry that is missing has its default."""
    values: Mapping[str, Any] = json.loads(text)
    return Words(
        str(values.get("conclusion", "")),
        str(values.get("comments", "")),
        Language(values.get("language", Language.ENGLISH)),
        tuple(values.get("fields", ())),
        tuple(values.get("gallery", ())),
    )
