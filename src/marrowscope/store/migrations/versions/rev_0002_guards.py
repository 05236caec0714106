"""What happened cannot be changed: triggers that refuse to.

Rows of `WRITTEN_ONCE` are neither changed nor deleted; of a cell, what the model said is not changed; nothing that
others refer to is deleted. Whoever removes the triggers still has the audit trail against him.
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

WRITTEN_ONCE = ("audit", "corrections", "edit_groups", "effort", "fields", "patients", "reports")
NEVER_DELETED = ("audit_head", "cells", "models", "slides", "specimens", "users")
CALL = (
    "id",
    "specimen_id",
    "field_id",
    "called",
    "score",
    "doubt",
    "same_as",
    "called_x1",
    "called_y1",
    "called_x2",
    "called_y2",
)


def upgrade() -> None:
    """Set up the guards."""
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def _guard_sqlite() -> None:
    def refuse(name: str, when: str, words: str) -> None:
        op.execute(f"CREATE TRIGGER {name} BEFORE {when} BEGIN SELECT RAISE(ABORT, '{words}'); END")

    for table in WRITTEN_ONCE:
        refuse(f"{table}_no_update", f"UPDATE ON {table}", f"{table}, written once, not to be changed")
    for table in WRITTEN_ONCE + NEVER_DELETED:
        refuse(f"{table}_no_delete", f"DELETE ON {table}", f"{table}, nothing is deleted")
    changed = " OR ".join(f"OLD.{column} IS NOT NEW.{column}" for column in CALL)
    refuse("cells_call", f"UPDATE ON cells WHEN {changed}", "cells, what the model said is not to be changed")


def _guard_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION marrowscope_refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION '%, %', TG_TABLE_NAME, TG_ARGV[0] USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )

    def refuse(name: str, when: str, words: str, each: str = "ROW", only: str = "") -> None:
        call = f"EXECUTE FUNCTION marrowscope_refuse('{words}')"
        op.execute(f"CREATE TRIGGER {name} BEFORE {when} FOR EACH {each} {only} {call}")

    for table in WRITTEN_ONCE:
        refuse(f"{table}_no_update", f"UPDATE ON {table}", "written once, not to be changed")
    for table in WRITTEN_ONCE + NEVER_DELETED:
        refuse(f"{table}_no_delete", f"DELETE ON {table}", "nothing is deleted")
        refuse(f"{table}_no_truncate", f"TRUNCATE ON {table}", "nothing is deleted", each="STATEMENT")
    changed = " OR ".join(f"OLD.{column} IS DISTINCT FROM NEW.{column}" for column in CALL)
    refuse("cells_call", "UPDATE ON cells", "what the model said is not to be changed", only=f"WHEN ({changed})")
