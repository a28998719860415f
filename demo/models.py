"""Make the views of models/ in the warehouse, and ask them whether the data is whole."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from psycopg import sql
from psycopg.rows import dict_row

if TYPE_CHECKING:
    from demo.postgres import Postgres

MODELS = Path(__file__).parents[1] / "models"
SCHEMA = "hubstaff"
"""Where the views of Hubstaff's tables are, which are in tap_hubstaff."""


def create_views(warehouse: Postgres, vendor: str = SCHEMA) -> list[str]:
    """Make a view of each file of a vendor, and return their names."""
    names = []
    with warehouse.connect() as connection:
        connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(vendor)))
        for path in sorted((MODELS / vendor).glob("*.sql")):
            view = sql.Identifier(vendor, path.stem)
            query = path.read_bytes()
            connection.execute(sql.SQL("DROP VIEW IF EXISTS {}").format(view))
            connection.execute(sql.SQL("CREATE VIEW {} AS ").format(view).as_bytes(connection) + query)
            names.append(path.stem)
    return names


def rows(warehouse: Postgres, view: str, schema: str = SCHEMA) -> list[dict[str, Any]]:
    """Return all rows of a view."""
    with warehouse.connect() as connection, connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(schema, view))).fetchall()


def verdict(warehouse: Postgres) -> str:
    """Say in a sentence what `reconcile` finds."""
    different = rows(warehouse, "reconcile")
    if not different:
        return "activities and daily activities agree on every person and day"
    first = different[0]
    return (
        f"activities and daily activities differ on {len(different)} days of a person,"
        f" such as {first['date']} of {first['person']}"
    )
