"""Parameters that many routes share."""

from typing import Annotated

from fastapi import Path, Query

from marrowscope.web.schemas.common import TOP_ID

PathId = Annotated[int, Path(ge=1, le=TOP_ID)]
Limit = Annotated[int, Query(ge=1, le=1000)]
Offset = Annotated[int, Query(ge=0, le=TOP_ID)]
CodeQuery = Annotated[str, Query(min_length=1, max_length=64)]
