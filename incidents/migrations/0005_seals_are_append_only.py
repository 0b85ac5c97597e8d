"""The database itself refuses to change or delete a seal of the audit."""

from django.db import migrations

SENTENCE = "seals of the audit are never changed"
POSTGRES = """
CREATE TRIGGER incidents_seal_refuse BEFORE UPDATE OR DELETE ON incidents_auditseal
FOR EACH ROW EXECUTE FUNCTION incidents_audit_refuse();
"""
SQLITE = [
    f"CREATE TRIGGER incidents_seal_{verb.lower()} BEFORE {verb} ON incidents_auditseal "
    f"BEGIN SELECT RAISE(ABORT, '{SENTENCE}'); END"
    for verb in ("UPDATE", "DELETE")
]


def refuse(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(POSTGRES)
    for statement in SQLITE if schema_editor.connection.vendor == "sqlite" else ():
        schema_editor.execute(statement)


def allow(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER incidents_seal_refuse ON incidents_auditseal")
    for verb in ("update", "delete") if schema_editor.connection.vendor == "sqlite" else ():
        schema_editor.execute(f"DROP TRIGGER incidents_seal_{verb}")


class Migration(migrations.Migration):
    dependencies = [("incidents", "0004_desk")]
    operations = [migrations.RunPython(refuse, allow)]
