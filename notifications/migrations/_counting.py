"""The triggers that keep notifications_counted. A migration that rebuilds the delivery table on SQLite must install() them again."""

_WORD = "CASE WHEN {0}state IN ('prepared', 'calling') THEN 'pending' ELSE {0}state END"
_HANDED_OVER = (
    "{0}state IN ('accepted', 'delivered', 'bounced', 'acknowledged') AND {0}accepted_at IS NOT NULL"
)
_COLUMNS = "(broadcast_id, channel, state, told, number, folded)"


def _row(which: str, told: str) -> str:
    told = f"CASE WHEN {_HANDED_OVER} THEN {told} ELSE 0 END"
    return f"{{0}}broadcast_id, {{0}}channel, {_WORD}, {told}".format(which)


_PG = _row("", "ceil(extract(epoch FROM {0}accepted_at) * 10)::bigint")
_POSTGRES = f"""
CREATE FUNCTION notifications_count_new() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notifications_counted {_COLUMNS}
    SELECT row.*, count(*), false FROM (SELECT {_PG} FROM after) AS row (b, c, s, t) GROUP BY 1, 2, 3, 4;
    RETURN NULL;
END $$;
CREATE FUNCTION notifications_count_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO notifications_counted {_COLUMNS}
    SELECT b, c, s, t, sum(n), false
    FROM (SELECT {_PG}, 1 FROM after UNION ALL SELECT {_PG}, -1 FROM before) AS row (b, c, s, t, n)
    GROUP BY 1, 2, 3, 4 HAVING sum(n) <> 0;
    RETURN NULL;
END $$;
CREATE TRIGGER notifications_count_new AFTER INSERT ON notifications_delivery
REFERENCING NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION notifications_count_new();
CREATE TRIGGER notifications_count_changed AFTER UPDATE ON notifications_delivery
REFERENCING OLD TABLE AS before NEW TABLE AS after FOR EACH STATEMENT EXECUTE FUNCTION notifications_count_changed();
"""

# The tenth of a second after which somebody was told, rounded up, from SQLite's text.
_SQLITE_TOLD = (
    "CAST(strftime('%s', {0}accepted_at) AS INTEGER) * 10"
    " + (CAST(substr(strftime('%f', {0}accepted_at), 4) AS INTEGER) + 99) / 100"
)
_OLD, _NEW = _row("OLD.", _SQLITE_TOLD), _row("NEW.", _SQLITE_TOLD)
_SQLITE = [
    f"""CREATE TRIGGER notifications_count_new AFTER INSERT ON notifications_delivery BEGIN
    INSERT INTO notifications_counted {_COLUMNS} SELECT {_NEW}, 1, 0; END""",
    f"""CREATE TRIGGER notifications_count_changed AFTER UPDATE ON notifications_delivery
    WHEN ({_OLD}) IS NOT ({_NEW}) BEGIN
    INSERT INTO notifications_counted {_COLUMNS} SELECT {_OLD}, -1, 0;
    INSERT INTO notifications_counted {_COLUMNS} SELECT {_NEW}, 1, 0; END""",
]


def install(apps, schema_editor):
    """Create the triggers, in place of those that are there."""
    uninstall(apps, schema_editor)
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(_POSTGRES, params=None)
    for statement in _SQLITE if schema_editor.connection.vendor == "sqlite" else ():
        schema_editor.execute(statement, params=None)


def uninstall(apps, schema_editor):
    for name in ("notifications_count_new", "notifications_count_changed"):
        if schema_editor.connection.vendor == "postgresql":
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name} ON notifications_delivery")
            schema_editor.execute(f"DROP FUNCTION IF EXISTS {name}()")
        if schema_editor.connection.vendor == "sqlite":
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}")


def count_what_is_there(apps, schema_editor):
    """Count the deliveries of before, once."""
    is_postgres = schema_editor.connection.vendor == "postgresql"
    row, false = (_PG, "false") if is_postgres else (_row("", _SQLITE_TOLD), "0")
    schema_editor.execute(
        f"INSERT INTO notifications_counted {_COLUMNS} "
        f"SELECT {row}, count(*), {false} FROM notifications_delivery GROUP BY 1, 2, 3, 4",
        params=None,
    )
