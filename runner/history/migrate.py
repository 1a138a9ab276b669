"""Brings a history database to today's schema, forward only. Migration modules are loaded only when
needed."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping

from sqlalchemy import Connection, inspect, text

from runner.history.records import HistoryUnavailable

CURRENT_VERSION = 3

Upgrade = Callable[[Connection], None]


def shipped(version: int) -> Upgrade:
    """The step from `version - 1` to `version`, from its module migration_NNNN."""
    upgrade: Upgrade = importlib.import_module(f"runner.history.migration_{version:04d}").upgrade
    return upgrade


def stored_version(connection: Connection) -> int:
    """The schema version of the database; 0 for an empty one."""
    if not inspect(connection).has_table("schema_version"):
        return 0
    return int(connection.execute(text("SELECT version FROM schema_version")).scalar_one())


def migrate(
    connection: Connection,
    *,
    target: int = CURRENT_VERSION,
    upgrades: Mapping[int, Upgrade] | None = None,
) -> None:
    """Run the missing steps in the caller's transaction: all or none. The transaction must exclude writers.

    `upgrades` replaces shipped steps (tests of the mechanism).

    Raises:
        HistoryUnavailable: a later sync-runner wrote this database; it is left as it is.
    """
    present = stored_version(connection)
    refuse_later(present, target)
    for version in range(present + 1, target + 1):
        upgrade = (upgrades or {}).get(version) or shipped(version)
        upgrade(connection)
    if present < target:
        connection.execute(text("DELETE FROM schema_version"))
        connection.execute(
            text("INSERT INTO schema_version (version) VALUES (:version)"), {"version": target}
        )


def refuse_later(present: int, target: int = CURRENT_VERSION) -> None:
    """Raises HistoryUnavailable when the database is of a later version than this program knows."""
    if present > target:
        raise HistoryUnavailable(
            f"the history database has schema version {present}, this sync-runner knows up to {target}",
            remedy="Upgrade sync-runner, or give this one a history of its own (settings.history).",
        )
