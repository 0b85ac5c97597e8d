from django.db import migrations, models
from django.db.models import Q

from notifications.migrations import _counting


class Migration(migrations.Migration):
    dependencies = [("incidents", "0002_audit_is_append_only"), ("notifications", "0002_voiceline")]
    operations = [
        # Nothing has written into it yet.
        migrations.DeleteModel("Informed"),
        migrations.CreateModel(
            "Informed",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("channel", models.CharField(max_length=16)),
                ("all_clear", models.BooleanField(default=False)),
                ("fault_at", models.DateTimeField(blank=True, null=True)),
                ("verdict_at", models.DateTimeField(blank=True, null=True)),
                ("published_at", models.DateTimeField(help_text="The zero of the curve.")),
                ("counts", models.JSONField(default=dict)),
                ("curve", models.JSONField(default=list, help_text="Steps of [seconds, people told by then].")),
                ("incident", models.ForeignKey("incidents.incident", models.CASCADE, related_name="informed")),
            ],
            options={
                "verbose_name_plural": "informed",
                "constraints": [
                    models.UniqueConstraint(fields=("incident", "channel", "all_clear"), name="informed_once")
                ],
            },
        ),
        migrations.CreateModel(
            "Counted",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("channel", models.CharField(max_length=16)),
                ("state", models.CharField(max_length=12)),
                ("told", models.BigIntegerField(default=0)),
                ("number", models.IntegerField()),
                ("folded", models.BooleanField(default=False)),
                (
                    "broadcast",
                    models.ForeignKey(
                        "notifications.broadcast", models.CASCADE, related_name="counted", db_index=False
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(fields=["broadcast"], name="counted_of_broadcast"),
                    models.Index(condition=Q(folded=False), fields=["id"], name="counted_to_fold"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=Q(folded=True),
                        fields=("broadcast", "channel", "state", "told"),
                        name="folded_once",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            "Epoch",
            [
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("uid", models.CharField(max_length=32)),
                ("beats", models.BigIntegerField(default=0)),
                (
                    "begun_at",
                    models.DateTimeField(
                        blank=True, help_text="When the newest life began: a backup was restored.", null=True
                    ),
                ),
            ],
        ),
        migrations.RunPython(_counting.count_what_is_there, migrations.RunPython.noop),
        migrations.RunPython(_counting.install, _counting.uninstall),
    ]
