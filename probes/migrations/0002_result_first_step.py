from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("probes", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="result",
            name="first_step",
            field=models.CharField(blank=True, default="", max_length=100),
        ),
    ]
