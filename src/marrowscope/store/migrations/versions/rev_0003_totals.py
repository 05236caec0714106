"""Counters over all specimens, filled from those of each."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and count."""
    op.create_table(
        "totals",
        sa.Column("called", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("counting", sa.Integer(), nullable=False),
        sa.Column("reviewed", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("called", "code", name="pk_totals"),
    )
    op.execute(
        "INSERT INTO totals (called, code, counting, reviewed) "
        "SELECT called, code, sum(counting), sum(reviewed) FROM tallies GROUP BY called, code"
    )
