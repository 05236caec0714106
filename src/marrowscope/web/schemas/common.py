"""What every request and answer of the HTTP interface shares: strictness, the limits of words and numbers, errors.

What comes in is taken literally: "7" is no number, an unknown entry is an error, and text holds no control characters
(a database refuses some of them, and a page cannot show them).
"""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AllowInfNan, BaseModel, ConfigDict, Field, PlainSerializer, Strict

TOP_ID = 2**31 - 1
"""Largest id of a row that every database holds."""

LINE = r"^[^\x00-\x1f\x7f-\x9f]*$"
"""One line of text: no control characters."""
WORD = r"^[A-Za-z0-9][A-Za-z0-9._@+-]*$"
"""A user name or another key that is typed, compared and written in logs."""
CODE = r"^[^\x00-\x20\x7f-\xa0]+$"
"""The code of a class or of a case: no spaces at all, nothing unseen."""
SAYING = r"^[^\x00-\x1f\x7f-\x9f]*[^\x00-\x20\x7f-\xa0\s][^\x00-\x1f\x7f-\x9f]*$"
"""One line that is more than spaces."""
TEXT = r"^[^\x00-\x08\x0b-\x1f\x7f-\x9f]*$"
"""Text of several lines."""

Id = Annotated[int, Strict(), Field(ge=1, le=TOP_ID)]
Number = Annotated[int, Strict()]
Real = Annotated[float, Strict(), AllowInfNan(False)]
Flag = Annotated[bool, Strict()]
Line = Annotated[str, Field(max_length=200, pattern=LINE)]
Stated = Annotated[str, Field(min_length=1, max_length=200, pattern=SAYING)]
"""One line that says something."""
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=WORD)]
Code = Annotated[str, Field(min_length=1, max_length=64, pattern=CODE)]
Text = Annotated[str, Field(max_length=4000, pattern=TEXT)]


def as_utc(when: datetime) -> datetime:
    """The same moment in UTC; a database may have dropped the zone, which was UTC then."""
    return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)


Moment = Annotated[datetime, AfterValidator(as_utc)]
"""A time in UTC, written as ISO 8601 with a Z."""

Percent = Annotated[float, PlainSerializer(lambda v: round(v, 4), return_type=float)]


class Body(BaseModel):
    """What a client sends: every entry known, nothing coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What the station answers. Made from a value of the archive by `model_validate`."""

    model_config = ConfigDict(extra="forbid", frozen=True, from_attributes=True)


class Problem(Answer):
    """Every error has this shape. error: a word for programs. message: the thing, the place, the remedy, for people."""

    error: str
    message: str


class Range(Answer):
    """Both ends of an interval or of what is permitted."""

    low: float | None
    high: float | None
