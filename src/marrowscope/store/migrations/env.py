"""Alembic runs this: migrate on the connection that was handed over, inside its transaction."""

from alembic import context

from marrowscope.store.tables import Table

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Table.metadata)
context.run_migrations()
