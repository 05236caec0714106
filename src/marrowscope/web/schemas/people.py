"""Who works here, how they come in, and the words and keys they work with."""

from typing import Annotated

from pydantic import Field

from marrowscope.cells.specimen import Role
from marrowscope.web.schemas.common import LINE, SAYING, TEXT, Answer, Body, Flag, Name

MIN_PASSWORD = 10
"""Characters. Length is what protects a password (NIST SP 800-63B); what it is made of is left to the person."""
MAX_PASSWORD = 256

Password = Annotated[str, Field(min_length=MIN_PASSWORD, max_length=MAX_PASSWORD)]
AnyPassword = Annotated[str, Field(min_length=1, max_length=MAX_PASSWORD)]
"""One that is tried, not one that is chosen: whatever was typed."""
FullName = Annotated[str, Field(min_length=1, max_length=120, pattern=SAYING)]


class Health(Answer):
    """The station is up. version: of marrowscope."""

    status: str
    version: str


class SetupState(Answer):
    """needed: nobody is known yet. here: this browser runs on the station itself, so it may do the set-up."""

    needed: bool
    here: bool
    min_password: int


class Setup(Body):
    """The first person, who becomes the admin."""

    name: Name
    full_name: FullName
    password: Password


class Login(Body):
    """A name and a password."""

    name: Annotated[str, Field(min_length=1, max_length=64, pattern=LINE)]
    password: AnyPassword


class Me(Answer):
    """The person who is signed in. keyboard: name of the layout in use, or `custom:` and the layout as TOML."""

    id: int
    name: str
    full_name: str
    role: Role
    keyboard: str


class KeyboardChoice(Body):
    """layout: the name of one of `GET /api/keyboards`, or one of one's own as TOML or JSON {name, title, keys}."""

    layout: Annotated[str, Field(min_length=1, max_length=20_000, pattern=TEXT)]


class PasswordChange(Body):
    """The old password is asked for again, so that an open browser is not enough."""

    old: AnyPassword
    new: Password


class Person(Answer):
    """A user, as the admin sees one."""

    id: int
    name: str
    full_name: str
    role: Role
    active: bool
    keyboard: str


class NewPerson(Body):
    """A user to be added."""

    name: Name
    full_name: FullName
    role: Role
    password: Password


class PersonChange(Body):
    """What is left out stays. A new password signs the person out everywhere."""

    role: Role | None = None
    active: Flag | None = None
    full_name: FullName | None = None
    password: Password | None = None


class SchemeClass(Answer):
    """A class of cells. stage: 1 is the blast of its lineage. counted: enters the differential. colour: #rrggbb."""

    code: str
    name: str
    chinese: str
    lineage: str
    stage: int | None
    counted: bool
    colour: str


class Scheme(Answer):
    """The classes in force. other: code of the bucket for what nobody can name."""

    name: str
    other: str | None
    classes: list[SchemeClass]


class Keyboard(Answer):
    """A layout for naming cells by key. keys: key -> class code."""

    name: str
    title: str
    keys: dict[str, str]
