"""The groups that are roles: desk/roles.py says what each may do."""

from django.db import migrations

NAMES = ("viewer", "responder", "publisher", "rule-keeper", "owner")


def make(apps, schema_editor):
    for name in NAMES:
        apps.get_model("auth", "Group").objects.get_or_create(name=name)


class Migration(migrations.Migration):
    dependencies = [("desk", "0003_desk"), ("auth", "0012_alter_user_first_name_max_length")]
    operations = [migrations.RunPython(make, migrations.RunPython.noop)]
