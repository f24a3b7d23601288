"""Migration of the tables from one revision to the next, inside the transaction of a connection.

A revision is a file in ``migrations/versions`` with a function ``upgrade(op)``, which takes Alembic's operations as an
argument: Alembic's own ``op`` is one per process, and would mix up two databases that are migrated at the same time.
"""

from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from app.errors import ConfigurationError


def is_current(connection: Connection) -> bool:
    """Return True if the tables are up to date. Raises ConfigurationError for a revision unknown to this code."""
    scripts = _scripts()
    return _revision(connection, scripts) == scripts.get_current_head()


def upgrade(connection: Connection, target: str = "head") -> None:
    """Apply the missing revisions up to ``target``. Raises ConfigurationError for a revision unknown to this code."""
    scripts = _scripts()
    done = _revision(connection, scripts)
    context = MigrationContext.configure(connection)
    operations = Operations(context)
    for revision in reversed([*scripts.iterate_revisions(target, done or "base")]):
        revision.module.upgrade(operations)
        context.stamp(scripts, revision.revision)


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(Path(__file__).parent / "migrations"))


def _revision(connection: Connection, scripts: ScriptDirectory) -> str | None:
    """Return the revision of the database; None if it is empty."""
    revision = MigrationContext.configure(connection).get_current_revision()
    try:
        scripts.get_revision(revision or "base")
    except CommandError:
        raise ConfigurationError(
            f"DATABASE_URL: the database is at revision {revision}, which this version of the gateway does not know: "
            "a newer one has migrated it"
        ) from None
    return revision
