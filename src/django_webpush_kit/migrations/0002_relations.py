"""The foreign keys among the four swappable models, and what touches them; see `0001_initial`."""

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("webpush_kit", "0001_initial"),
        migrations.swappable_dependency(settings.WEBPUSH_KIT_SUBSCRIPTION_MODEL),
        migrations.swappable_dependency(settings.WEBPUSH_KIT_TEMPLATE_MODEL),
        migrations.swappable_dependency(settings.WEBPUSH_KIT_NOTIFICATION_MODEL),
        migrations.swappable_dependency(settings.WEBPUSH_KIT_ANALYTICS_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="pushnotification",
            name="template",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="notifications",
                to=settings.WEBPUSH_KIT_TEMPLATE_MODEL,
                verbose_name="template",
            ),
        ),
        migrations.AddField(
            model_name="pushnotification",
            name="subscription",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE,
                related_name="notifications",
                to=settings.WEBPUSH_KIT_SUBSCRIPTION_MODEL,
                verbose_name="subscription",
            ),
        ),
        migrations.AddField(
            model_name="notificationanalytics",
            name="notification",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="analytics",
                to=settings.WEBPUSH_KIT_NOTIFICATION_MODEL,
                verbose_name="notification",
            ),
        ),
        migrations.AddConstraint(
            model_name="notificationanalytics",
            constraint=models.UniqueConstraint(
                fields=("notification", "action_type", "action_id"),
                name="webpush_kit_notificationanalytics_once",
            ),
        ),
    ]
