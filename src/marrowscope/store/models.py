"""Model versions, which of them looks at new fields, and the settings of the station."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from marrowscope.cells.specimen import ModelVersion
from marrowscope.errors import NotFound
from marrowscope.store import base, intake
from marrowscope.store.base import Base
from marrowscope.store.tables import ModelRow, SettingRow

_MODEL: tuple[Any, ...] = (
    ModelRow.id,
    ModelRow.name,
    ModelRow.digest,
    ModelRow.scheme,
    ModelRow.path,
    ModelRow.about,
    ModelRow.serving,
    ModelRow.added_at,
)
_LONGEST_SETTING = 10_000_000


def _model(row: Any) -> ModelVersion:
    return ModelVersion(*row)


def _serving(connection: Connection) -> ModelVersion | None:
    row = connection.execute(select(*_MODEL).where(ModelRow.serving)).one_or_none()
    return None if row is None else _model(row)


class Models(Base):
    """The part of the archive that knows models and settings."""

    def add_model(
        self, name: str, digest: str, scheme: str, path: str, about: str, *, by: str, now: datetime | None = None
    ) -> ModelVersion:
        """A model version. Weights that are known by their digest are the version that is there already.

        It does not serve before it is promoted.
        """
        name, digest = intake.name(name, "model name"), intake.name(digest, "model digest")
        scheme, path = intake.name(scheme, "scheme"), intake.text(path, "model path")
        about_text = intake.text(about, "about the model")
        known = select(*_MODEL).where(ModelRow.digest == digest)
        with self._reading() as connection:
            if row := connection.execute(known).one_or_none():
                return _model(row)
        with self._writing(by, now) as change:
            new = insert(ModelRow).values(
                name=name,
                digest=digest,
                scheme=scheme,
                path=path,
                about=about_text,
                serving=False,
                added_at=change.at,
            )
            model = _model(change.connection.execute(new.returning(*_MODEL)).one())
            change.tell(
                "model.add", base.about("model", model.id), new={"name": name, "digest": digest, "scheme": scheme}
            )
        return model

    def models(self) -> list[ModelVersion]:
        """Every version, the oldest first."""
        with self._reading() as connection:
            return [_model(row) for row in connection.execute(select(*_MODEL).order_by(ModelRow.id))]

    def model(self, model_id: int) -> ModelVersion:
        """A version. NotFound."""
        wanted = ModelRow.id == intake.number_of(model_id, "model")
        with self._reading() as connection:
            row = connection.execute(select(*_MODEL).where(wanted)).one_or_none()
        if row is None:
            raise NotFound(f"There is no model {model_id}.")
        return _model(row)

    def serving_model(self) -> ModelVersion | None:
        """The version that looks at new fields; None before the first promotion."""
        with self._reading() as connection:
            return _serving(connection)

    def promote(self, model_id: int, *, by: str, why: str, now: datetime | None = None) -> ModelVersion:
        """Let this version look at new fields from now on. NotFound."""
        why = intake.text(why, "reason", empty=False)
        wanted = ModelRow.id == intake.number_of(model_id, "model")
        with self._writing(by, now) as change:
            if change.connection.execute(select(ModelRow.id).where(wanted)).first() is None:
                raise NotFound(f"There is no model {model_id}.")
            before = _serving(change.connection)
            change.connection.execute(update(ModelRow).where(ModelRow.serving).values(serving=False))
            change.connection.execute(update(ModelRow).where(wanted).values(serving=True))
            old = None if before is None else before.id
            change.tell("model.promote", base.about("model", model_id), old=old, new=model_id, why=why)
            return _model(change.connection.execute(select(*_MODEL).where(wanted)).one())

    def setting(self, key: str) -> str | None:
        """The JSON kept under this key, if any is."""
        with self._reading() as connection:
            wanted = SettingRow.key == intake.text(key, "setting")
            return connection.execute(select(SettingRow.value).where(wanted)).scalar()

    def set_setting(self, key: str, value: str, *, by: str, now: datetime | None = None) -> None:
        """Keep this JSON under this key."""
        key, value = intake.name(key, "setting"), intake.text(value, "value", longest=_LONGEST_SETTING)
        with self._writing(by, now) as change:
            mine = SettingRow.key == key
            old = change.connection.execute(select(SettingRow.value).where(mine)).scalar()
            if old is None:
                change.connection.execute(insert(SettingRow).values(key=key, value=value))
            else:
                change.connection.execute(update(SettingRow).where(mine).values(value=value))
            change.tell("setting", base.about("setting", key), old=old, new=value)
