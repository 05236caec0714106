"""The tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make them, and the head of an audit trail without entries."""
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("what", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("old", sa.Text(), nullable=False),
        sa.Column("new", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("previous", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit"),
    )
    op.create_index("ix_audit_subject", "audit", ["subject", "id"], unique=False)
    op.create_table(
        "audit_head",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entries", sa.Integer(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_audit_head"),
    )
    op.create_table(
        "logins",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ok", sa.Boolean(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_logins"),
    )
    op.create_index("ix_logins_name", "logins", ["name", "at"], unique=False)
    op.create_table(
        "models",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("scheme", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("serving", sa.Boolean(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
        sa.UniqueConstraint("digest", name="uq_models_digest"),
    )
    op.create_table(
        "patients",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_patients"),
        sa.UniqueConstraint("code", name="uq_patients_code"),
    )
    op.create_table(
        "settings",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_settings"),
    )
    op.create_table(
        "users",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("full_name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("keyboard", sa.Text(), nullable=False),
        sa.Column("added_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("name", name="uq_users_name"),
    )
    op.create_table(
        "work",
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("edits", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("who", "kind", name="pk_work"),
    )
    op.create_table(
        "sessions",
        sa.Column("token_digest", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Integer(), nullable=False),
        sa.Column("expires", sa.DateTime(timezone=True), nullable=False),
        sa.Column("csrf", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_sessions_user_id"),
        sa.PrimaryKeyConstraint("token_digest", name="pk_sessions"),
    )
    op.create_index("ix_sessions_user_id", "sessions", ["user_id"], unique=False)
    op.create_table(
        "specimens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("patient_id", sa.Integer(), nullable=False),
        sa.Column("material", sa.Text(), nullable=False),
        sa.Column("taken_on", sa.Date(), nullable=True),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("amending", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("slides", sa.Integer(), nullable=False),
        sa.Column("fields", sa.Integer(), nullable=False),
        sa.Column("cells", sa.Integer(), nullable=False),
        sa.Column("reviewed", sa.Integer(), nullable=False),
        sa.Column("reports", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["patient_id"], ["patients.id"], name="fk_specimens_patient_id"),
        sa.PrimaryKeyConstraint("id", name="pk_specimens"),
        sa.UniqueConstraint("code", name="uq_specimens_code"),
    )
    op.create_index("ix_specimens_patient_id", "specimens", ["patient_id"], unique=False)
    op.create_index("ix_specimens_state", "specimens", ["state", "id"], unique=False)
    op.create_table(
        "drafts",
        sa.Column("specimen_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["specimen_id"], ["specimens.id"], name="fk_drafts_specimen_id"),
        sa.PrimaryKeyConstraint("specimen_id", name="pk_drafts"),
    )
    op.create_table(
        "edit_groups",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("undoes", sa.Integer(), nullable=True),
        sa.ForeignKeyConstraint(["specimen_id"], ["specimens.id"], name="fk_edit_groups_specimen_id"),
        sa.ForeignKeyConstraint(["undoes"], ["edit_groups.id"], name="fk_edit_groups_undoes"),
        sa.PrimaryKeyConstraint("id", name="pk_edit_groups"),
        sa.UniqueConstraint("undoes", name="uq_edit_groups_undoes"),
    )
    op.create_index("ix_edit_groups_who", "edit_groups", ["specimen_id", "who", "id"], unique=False)
    op.create_table(
        "effort",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.Float(precision=53), nullable=False),
        sa.Column("keystrokes", sa.Integer(), nullable=False),
        sa.Column("clicks", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["specimen_id"], ["specimens.id"], name="fk_effort_specimen_id"),
        sa.PrimaryKeyConstraint("id", name="pk_effort"),
    )
    op.create_index("ix_effort_specimen_id", "effort", ["specimen_id"], unique=False)
    op.create_table(
        "reports",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("content", sa.Text(), nullable=False),
        sa.Column("pdf", sa.Text(), nullable=False),
        sa.Column("signed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("signed_by", sa.Text(), nullable=False),
        sa.Column("signer", sa.Text(), nullable=False),
        sa.Column("meaning", sa.Text(), nullable=False),
        sa.Column("amends", sa.Integer(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["amends"], ["reports.id"], name="fk_reports_amends"),
        sa.ForeignKeyConstraint(["specimen_id"], ["specimens.id"], name="fk_reports_specimen_id"),
        sa.PrimaryKeyConstraint("id", name="pk_reports"),
        sa.UniqueConstraint("specimen_id", "version", name="uq_reports_specimen_id"),
    )
    op.create_table(
        "slides",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("stain", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["specimen_id"], ["specimens.id"], name="fk_slides_specimen_id"),
        sa.PrimaryKeyConstraint("id", name="pk_slides"),
        sa.UniqueConstraint("specimen_id", "label", name="uq_slides_specimen_id"),
    )
    op.create_table(
        "tallies",
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("called", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("counting", sa.Integer(), nullable=False),
        sa.Column("reviewed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["specimen_id"], ["specimens.id"], name="fk_tallies_specimen_id"),
        sa.PrimaryKeyConstraint("specimen_id", "called", "code", name="pk_tallies"),
    )
    op.create_table(
        "fields",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("slide_id", sa.Integer(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("um_per_px", sa.Float(precision=53), nullable=True),
        sa.Column("visit", sa.Text(), nullable=True),
        sa.Column("x_um", sa.Float(precision=53), nullable=True),
        sa.Column("y_um", sa.Float(precision=53), nullable=True),
        sa.Column("focus", sa.Float(precision=53), nullable=True),
        sa.Column("model_id", sa.Integer(), nullable=True),
        sa.Column("kept_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("kept_by", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["model_id"], ["models.id"], name="fk_fields_model_id"),
        sa.ForeignKeyConstraint(["slide_id"], ["slides.id"], name="fk_fields_slide_id"),
        sa.ForeignKeyConstraint(["specimen_id"], ["specimens.id"], name="fk_fields_specimen_id"),
        sa.PrimaryKeyConstraint("id", name="pk_fields"),
        sa.UniqueConstraint("specimen_id", "number", name="uq_fields_specimen_id"),
    )
    op.create_index("ix_fields_image", "fields", ["image"], unique=False)
    op.create_index("ix_fields_slide_id", "fields", ["slide_id"], unique=False)
    op.create_table(
        "cells",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("field_id", sa.Integer(), nullable=False),
        sa.Column("called", sa.Text(), nullable=True),
        sa.Column("score", sa.Float(precision=53), nullable=True),
        sa.Column("doubt", sa.Float(precision=53), nullable=False),
        sa.Column("same_as", sa.Integer(), nullable=True),
        sa.Column("called_x1", sa.Float(precision=53), nullable=False),
        sa.Column("called_y1", sa.Float(precision=53), nullable=False),
        sa.Column("called_x2", sa.Float(precision=53), nullable=False),
        sa.Column("called_y2", sa.Float(precision=53), nullable=False),
        sa.Column("x1", sa.Float(precision=53), nullable=False),
        sa.Column("y1", sa.Float(precision=53), nullable=False),
        sa.Column("x2", sa.Float(precision=53), nullable=False),
        sa.Column("y2", sa.Float(precision=53), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("reviewed", sa.Boolean(), nullable=False),
        sa.Column("removed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["field_id"], ["fields.id"], name="fk_cells_field_id"),
        sa.ForeignKeyConstraint(["same_as"], ["cells.id"], name="fk_cells_same_as"),
        sa.ForeignKeyConstraint(["specimen_id"], ["specimens.id"], name="fk_cells_specimen_id"),
        sa.PrimaryKeyConstraint("id", name="pk_cells"),
    )
    op.create_index(
        "ix_cells_class", "cells", ["specimen_id", "code", "removed", "doubt", "reviewed", "same_as"], unique=False
    )
    op.create_index("ix_cells_doubt", "cells", ["specimen_id", "removed", "doubt"], unique=False)
    op.create_index("ix_cells_field_id", "cells", ["field_id"], unique=False)
    op.create_index("ix_cells_specimen", "cells", ["specimen_id", "id"], unique=False)
    op.create_table(
        "corrections",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("group_id", sa.Integer(), nullable=False),
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("cell_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("old_code", sa.Text(), nullable=True),
        sa.Column("old_x1", sa.Float(precision=53), nullable=True),
        sa.Column("old_y1", sa.Float(precision=53), nullable=True),
        sa.Column("old_x2", sa.Float(precision=53), nullable=True),
        sa.Column("old_y2", sa.Float(precision=53), nullable=True),
        sa.Column("old_reviewed", sa.Boolean(), nullable=False),
        sa.Column("old_removed", sa.Boolean(), nullable=False),
        sa.Column("new_code", sa.Text(), nullable=False),
        sa.Column("new_x1", sa.Float(precision=53), nullable=False),
        sa.Column("new_y1", sa.Float(precision=53), nullable=False),
        sa.Column("new_x2", sa.Float(precision=53), nullable=False),
        sa.Column("new_y2", sa.Float(precision=53), nullable=False),
        sa.Column("new_reviewed", sa.Boolean(), nullable=False),
        sa.Column("new_removed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["cell_id"], ["cells.id"], name="fk_corrections_cell_id"),
        sa.ForeignKeyConstraint(["group_id"], ["edit_groups.id"], name="fk_corrections_group_id"),
        sa.ForeignKeyConstraint(["specimen_id"], ["specimens.id"], name="fk_corrections_specimen_id"),
        sa.PrimaryKeyConstraint("id", name="pk_corrections"),
    )
    op.create_index("ix_corrections_cell", "corrections", ["cell_id", "id"], unique=False)
    op.create_index("ix_corrections_group_id", "corrections", ["group_id"], unique=False)
    op.create_index("ix_corrections_specimen", "corrections", ["specimen_id", "id"], unique=False)
    op.create_table(
        "readings",
        sa.Column("cell_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reader", sa.Text(), nullable=False),
        sa.Column("specimen_id", sa.Integer(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["cell_id"], ["cells.id"], name="fk_readings_cell_id"),
        sa.ForeignKeyConstraint(["specimen_id"], ["specimens.id"], name="fk_readings_specimen_id"),
        sa.PrimaryKeyConstraint("cell_id", "reader", name="pk_readings"),
    )
    op.create_index("ix_readings_specimen", "readings", ["specimen_id", "reader"], unique=False)
    op.execute("INSERT INTO audit_head (id, entries, digest) VALUES (1, 0, '" + "0" * 64 + "')")
