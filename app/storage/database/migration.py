"""The tables' way from one revision to the next, inside the transaction of a connection.

A revision is a file in ``migrations/versions`` with ``upgrade(op)``, which gets Alembic's operations as an argument: Alembic's
own ``op`` is one for the whole process, and would mix up two databases migrated at a time.
"""

from pathlib import Path

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from app.errors import ConfigurationError


def is_current(connection: Connection) -> bool:
    """True where there is nothing to do. Raises ConfigurationError for a revision that this code does not know."""
    scripts = _scripts()
    return _revision(connection, scripts) == scripts.get_current_head()


def upgrade(connection: Connection, target: str = "head") -> None:
    """Apply what is missing up to a revision. Raises ConfigurationError where it has one that this code does not know."""
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
    """The revision the database is at; None where it is empty."""
    revision = MigrationContext.configure(connection).get_current_revision()
    try:
        scripts.get_revision(revision or "base")
    except CommandError:
        raise ConfigurationError(
            f"DATABASE_URL: the database is at revision {revision}, which this version of the gateway does not know: "
            "a newer one has migrated it"
        ) from None
    return revision
