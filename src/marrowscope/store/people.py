"""Users, their attempts to log in, and who is logged in. Passwords come and stay as hashes; none is ever told of."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from marrowscope.cells.specimen import Role, User
from marrowscope.errors import BadInput, Conflict, NotFound
from marrowscope.store import database, intake
from marrowscope.store.base import Base, Change, about
from marrowscope.store.tables import LoginRow, SessionRow, UserRow
from marrowscope.store.values import LoginSession

_USER: tuple[Any, ...] = (UserRow.id, UserRow.name, UserRow.full_name, UserRow.role, UserRow.active, UserRow.keyboard)


def _user(row: Any) -> User:
    return User(row.id, row.name, row.full_name, Role(row.role), row.active, row.keyboard)


def find_user(connection: Connection, name: str) -> User | None:
    """The user of this name, if there is one."""
    row = connection.execute(select(*_USER).where(UserRow.name == intake.text(name, "user name"))).one_or_none()
    return None if row is None else _user(row)


def _require(connection: Connection, name: str) -> User:
    user = find_user(connection, name)
    if user is None:
        raise NotFound(f"There is no user of the name {name!r}.")
    return user


class People(Base):
    """The part of the archive that knows people."""

    def has_users(self) -> bool:
        """Whether anybody has been added; a new station has nobody."""
        with self._reading() as connection:
            return connection.execute(select(UserRow.id).limit(1)).first() is not None

    def add_user(
        self, name: str, full_name: str, role: Role | str, password_hash: str, *, by: str, now: datetime | None = None
    ) -> User:
        """A new person, active. full_name is what reports print. Conflict where the name is taken."""
        name, full_name = intake.name(name, "user name"), intake.name(full_name, "full name")
        chosen = _role(role)
        with self._writing(by, now) as change:
            if find_user(change.connection, name):
                raise Conflict(f"There is a user of the name {name!r} already. Choose another.")
            new = insert(UserRow).values(
                name=name,
                full_name=full_name,
                role=chosen.value,
                password_hash=password_hash,
                active=True,
                keyboard="default",
                added_at=change.at,
            )
            change.connection.execute(new)
            change.tell("user.add", about("user", name), new={"full_name": full_name, "role": chosen.value})
            return _require(change.connection, name)

    def users(self) -> list[User]:
        """Everybody, by name."""
        with self._reading() as connection:
            return [_user(row) for row in connection.execute(select(*_USER).order_by(UserRow.name))]

    def user(self, name: str) -> User:
        """The person of this user name. NotFound."""
        with self._reading() as connection:
            return _require(connection, name)

    def password_hash(self, name: str) -> str:
        """The hash to verify a password against. NotFound."""
        with self._reading() as connection:
            user = _require(connection, name)
            return connection.execute(select(UserRow.password_hash).where(UserRow.id == user.id)).scalar_one()

    def set_password_hash(self, name: str, password_hash: str, *, by: str, now: datetime | None = None) -> User:
        """A new password. Whoever is logged in under this name is logged out."""
        with self._writing(by, now) as change:
            user = _require(change.connection, name)
            _set(change, user, password_hash=password_hash)
            _log_out(change.connection, user)
            change.tell("user.password", about("user", user.name))
            return user

    def set_role(self, name: str, role: Role | str, *, by: str, now: datetime | None = None) -> User:
        """What this person may do from now on. Conflict where no admin would be left."""
        chosen = _role(role)
        with self._writing(by, now) as change:
            user = _require(change.connection, name)
            if chosen is not Role.ADMIN:
                _keep_an_admin(change.connection, user)
            _set(change, user, role=chosen.value)
            change.tell("user.role", about("user", user.name), old=user.role.value, new=chosen.value)
            return _require(change.connection, name)

    def set_active(self, name: str, active: bool, *, by: str, now: datetime | None = None) -> User:
        """Let this person in, or no more; who is shut out is logged out. Conflict where no admin would be left."""
        with self._writing(by, now) as change:
            user = _require(change.connection, name)
            if not active:
                _keep_an_admin(change.connection, user)
                _log_out(change.connection, user)
            _set(change, user, active=bool(active))
            change.tell("user.active", about("user", user.name), old=user.active, new=bool(active))
            return _require(change.connection, name)

    def set_full_name(self, name: str, full_name: str, *, by: str, now: datetime | None = None) -> User:
        """The name that reports print. Reports signed before keep the old one."""
        full_name = intake.name(full_name, "full name")
        with self._writing(by, now) as change:
            user = _require(change.connection, name)
            _set(change, user, full_name=full_name)
            change.tell("user.full_name", about("user", user.name), old=user.full_name, new=full_name)
            return _require(change.connection, name)

    def set_keyboard(self, name: str, keyboard: str, *, by: str, now: datetime | None = None) -> User:
        """The keyboard layout that this person reviews with."""
        keyboard = intake.text(keyboard, "keyboard layout", empty=False)
        with self._writing(by, now) as change:
            user = _require(change.connection, name)
            _set(change, user, keyboard=keyboard)
            change.tell("user.keyboard", about("user", user.name), old=user.keyboard, new=keyboard)
            return _require(change.connection, name)

    def note_login(self, name: str, ok: bool, now: datetime | None = None) -> None:
        """Somebody tried to log in. The trail tells of it where the name is somebody's: people mistype passwords
        into the field for names, and the trail is for ever.
        """
        name = intake.text(name, "user name", longest=200)
        moment = now or datetime.now(UTC)
        with database.writing(self._engine) as connection:
            change = Change(connection, moment, name)
            change.connection.execute(insert(LoginRow).values(name=name, ok=bool(ok), at=moment))
            if find_user(connection, name):
                change.tell("login" if ok else "login.failed", about("user", name))

    def failures_since(self, name: str, since: datetime) -> int:
        """Failed attempts under this name after `since`, and after the last one that succeeded."""
        mine = LoginRow.name == intake.text(name, "user name")
        with self._reading() as connection:
            last_success = connection.execute(select(func.max(LoginRow.id)).where(mine, LoginRow.ok)).scalar() or 0
            failures = select(func.count()).select_from(LoginRow).where(mine, ~LoginRow.ok)
            return connection.execute(failures.where(LoginRow.at > since, LoginRow.id > last_success)).scalar_one()

    def open_session(self, token_digest: str, user: str, expires: datetime, csrf: str) -> LoginSession:
        """Log somebody in until `expires`. token_digest: SHA-256 (hex) of the cookie; the cookie itself is not kept."""
        with database.writing(self._engine) as connection:
            found = _require(connection, user)
            if not found.active:
                raise Conflict(f"The user {user!r} is not active.")
            row = {"token_digest": token_digest, "user_id": found.id, "expires": expires, "csrf": csrf}
            connection.execute(insert(SessionRow).values(row))
            return LoginSession(token_digest, found, expires, csrf)

    def session(self, token_digest: str, *, now: datetime | None = None) -> LoginSession | None:
        """Who is logged in with this cookie, with the role that they have now. None: unknown, expired or shut out."""
        joined = select(SessionRow.expires, SessionRow.csrf, *_USER).join(UserRow, UserRow.id == SessionRow.user_id)
        valid = joined.where(SessionRow.token_digest == intake.text(token_digest, "session"), UserRow.active)
        with self._reading() as connection:
            row = connection.execute(valid.where(SessionRow.expires > (now or datetime.now(UTC)))).one_or_none()
        if row is None:
            return None
        user = User(row.id, row.name, row.full_name, Role(row.role), row.active, row.keyboard)
        return LoginSession(token_digest, user, row.expires, row.csrf)

    def close_session(self, token_digest: str, *, now: datetime | None = None) -> None:
        """Log out; sessions that have expired go along. Nothing happens where there is none."""
        gone = (SessionRow.token_digest == token_digest) | (SessionRow.expires <= (now or datetime.now(UTC)))
        with database.writing(self._engine) as connection:
            connection.execute(delete(SessionRow).where(gone))


def _role(role: Role | str) -> Role:
    try:
        return Role(role)
    except ValueError:
        raise BadInput(f"{role!r} is no role. There are {', '.join(Role)}.") from None


def _set(change: Change, user: User, **values: str | bool) -> None:
    change.connection.execute(update(UserRow).where(UserRow.id == user.id).values(**values))


def _log_out(connection: Connection, user: User) -> None:
    connection.execute(delete(SessionRow).where(SessionRow.user_id == user.id))


def _keep_an_admin(connection: Connection, leaving: User) -> None:
    """Refuse to take away the last admin: nobody could add another."""
    if leaving.role is not Role.ADMIN or not leaving.active:
        return
    others = select(UserRow.id).where(UserRow.role == Role.ADMIN.value, UserRow.active, UserRow.id != leaving.id)
    if connection.execute(others.limit(1)).first() is None:
        raise Conflict(f"{leaving.name!r} is the last admin. Make somebody else one first.")
