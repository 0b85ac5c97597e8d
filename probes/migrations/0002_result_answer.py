from django.db import migrations, models


class Migration(migrations.Migration):
    """The first bytes of what was answered, for the desk."""

    dependencies = [
        ("probes", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="result",
            name="answer",
            field=models.TextField(blank=True, default="", max_length=2048),
        ),
    ]
