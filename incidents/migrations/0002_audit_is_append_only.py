"""The database itself refuses to change or delete an audit entry."""

from django.db import migrations

SENTENCE = "audit entries are never changed"
POSTGRES = f"""
CREATE FUNCTION incidents_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION '{SENTENCE}'; END $$;
CREATE TRIGGER incidents_audit_refuse BEFORE UPDATE OR DELETE ON incidents_auditentry
FOR EACH ROW EXECUTE FUNCTION incidents_audit_refuse();
"""
SQLITE = [
    f"CREATE TRIGGER incidents_audit_{verb.lower()} BEFORE {verb} ON incidents_auditentry "
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
        schema_editor.execute("DROP TRIGGER incidents_audit_refuse ON incidents_auditentry")
        schema_editor.execute("DROP FUNCTION incidents_audit_refuse()")
    for verb in ("update", "delete") if schema_editor.connection.vendor == "sqlite" else ():
        schema_editor.execute(f"DROP TRIGGER incidents_audit_{verb}")


class Migration(migrations.Migration):
    dependencies = [("incidents", "0001_initial")]
    operations = [migrations.RunPython(refuse, allow)]
