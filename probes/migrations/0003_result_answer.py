from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("probes", "0002_result_first_step")]

    operations = [
        migrations.AddField(
            model_name="result",
            name="warnings",
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name="result",
            name="answer",
            field=models.TextField(blank=True, default="", max_length=2048),
        ),
        migrations.AddField(
            model_name="result",
            name="try_id",
            field=models.CharField(blank=True, default="", max_length=32),
        ),
        migrations.AddField(
            model_name="check",
            name="try_id",
            field=models.CharField(blank=True, default="", max_length=32),
        ),
        migrations.AddField(
            model_name="check",
            name="try_asked_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="check",
            name="beat_at",
            field=models.DateTimeField(
                blank=True,
                help_text="When the newest heartbeat arrived (kind heartbeat).",
                null=True,
            ),
        ),
    ]
