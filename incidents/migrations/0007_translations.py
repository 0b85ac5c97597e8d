from django.db import migrations

import incidents.models


class Migration(migrations.Migration):

    dependencies = [
        ('incidents', '0006_two_people'),
    ]

    operations = [
        migrations.AddField(
            model_name='template',
            name='translations',
            field=incidents.models.Translations(blank=True, default=dict, help_text='Language -> name, body, what_to_do in it.'),
        ),
        migrations.AddField(
            model_name='update',
            name='translations',
            field=incidents.models.Translations(blank=True, default=dict, help_text='Language -> name, body, what_to_do in it.'),
        ),
    ]
