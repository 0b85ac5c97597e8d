"""The groups that are roles (desk/roles.py says what each may do), and the table that counts failed log-ins."""

from django.core.management import call_command
from django.db import migrations

NAMES = ("viewer", "responder", "publisher", "rule-keeper", "owner")


def make(apps, schema_editor):
    for name in NAMES:
        apps.get_model("auth", "Group").objects.get_or_create(name=name)


def count(apps, schema_editor):
    call_command("createcachetable", database=schema_editor.connection.alias, verbosity=0)


def forget(apps, schema_editor):
    schema_editor.execute("DROP TABLE IF EXISTS desk_cache")


class Migration(migrations.Migration):
    dependencies = [("desk", "0003_desk"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [
        migrations.RunPython(make, migrations.RunPython.noop),
        migrations.RunPython(count, forget),
    ]
