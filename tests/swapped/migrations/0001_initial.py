import uuid

import django.db.models.deletion
import django.utils.timezone
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Browser",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("endpoint", models.URLField(max_length=2048, verbose_name="endpoint")),
                ("endpoint_hash", models.CharField(editable=False, max_length=64)),
                ("p256dh_key", models.CharField(max_length=255)),
                ("auth_key", models.CharField(max_length=255)),
                ("expiration_time", models.DateTimeField(blank=True, null=True, verbose_name="expiration time")),
                ("preferences", models.JSONField(blank=True, default=dict, verbose_name="preferences")),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                ("deactivated_at", models.DateTimeField(blank=True, null=True, verbose_name="deactivated at")),
                (
                    "deactivation_reason",
                    models.CharField(blank=True, max_length=100, verbose_name="deactivation reason"),
                ),
                (
                    "push_service",
                    models.CharField(blank=True, editable=False, max_length=255, verbose_name="push service"),
                ),
                ("vapid_key_id", models.CharField(blank=True, editable=False, max_length=32)),
                ("language", models.CharField(blank=True, max_length=35, verbose_name="language")),
                ("timezone", models.CharField(blank=True, max_length=64, verbose_name="time zone")),
                ("token_version", models.PositiveIntegerField(default=0, editable=False)),
                ("user_agent", models.TextField(blank=True, verbose_name="user agent")),
                ("ip_address", models.GenericIPAddressField(blank=True, null=True, verbose_name="IP address")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
                ("nickname", models.CharField(blank=True, max_length=100)),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="push_subscriptions",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "push subscription",
                "verbose_name_plural": "push subscriptions",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Letter",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("batch", models.UUIDField(default=uuid.uuid4, verbose_name="batch")),
                ("type", models.CharField(blank=True, max_length=50, verbose_name="type")),
                ("language", models.CharField(blank=True, max_length=35, verbose_name="language")),
                ("title", models.CharField(max_length=200, verbose_name="title")),
                ("body", models.TextField(blank=True, verbose_name="body")),
                ("data", models.JSONField(blank=True, default=dict, verbose_name="data")),
                ("options", models.JSONField(blank=True, default=dict, verbose_name="options")),
                ("topic", models.CharField(blank=True, max_length=32, verbose_name="topic")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("sending", "sending"),
                            ("sent", "sent"),
                            ("failed", "failed"),
                            ("expired", "expired"),
                            ("suppressed", "suppressed"),
                            ("cancelled", "cancelled"),
                        ],
                        default="pending",
                        max_length=20,
                        verbose_name="status",
                    ),
                ),
                (
                    "lane",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "high"), (1, "normal"), (2, "low"), (9, "isolated")],
                        default=1,
                        verbose_name="lane",
                    ),
                ),
                ("scheduled_for", models.DateTimeField(blank=True, null=True, verbose_name="scheduled for")),
                (
                    "next_attempt_at",
                    models.DateTimeField(default=django.utils.timezone.now, verbose_name="next attempt at"),
                ),
                ("expires_at", models.DateTimeField(blank=True, null=True, verbose_name="expires at")),
                ("retry_count", models.PositiveIntegerField(default=0, verbose_name="retries")),
                ("max_retries", models.PositiveIntegerField(default=3, verbose_name="maximum retries")),
                ("lease_token", models.UUIDField(blank=True, editable=False, null=True)),
                (
                    "claims",
                    models.PositiveIntegerField(default=0, editable=False, verbose_name="claims without an answer"),
                ),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name="created at"),
                ),
                ("sent_at", models.DateTimeField(blank=True, null=True, verbose_name="sent at")),
                (
                    "response_status",
                    models.PositiveSmallIntegerField(blank=True, null=True, verbose_name="HTTP status"),
                ),
                ("failure_reason", models.CharField(blank=True, max_length=200, verbose_name="reason")),
                ("attempt_log", models.TextField(blank=True, default="", editable=False, verbose_name="log")),
                ("campaign", models.CharField(blank=True, max_length=100)),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="notifications",
                        to=settings.WEBPUSH_KIT_SUBSCRIPTION_MODEL,
                        verbose_name="subscription",
                    ),
                ),
                (
                    "user",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="push_notifications",
                        to=settings.AUTH_USER_MODEL,
                        verbose_name="user",
                    ),
                ),
            ],
            options={
                "verbose_name": "push notification",
                "verbose_name_plural": "push notifications",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Reaction",
            fields=[
                (
                    "action_type",
                    models.CharField(
                        choices=[
                            ("delivered", "delivered"),
                            ("clicked", "clicked"),
                            ("dismissed", "dismissed"),
                            ("action_clicked", "action clicked"),
                        ],
                        max_length=20,
                        verbose_name="event",
                    ),
                ),
                ("action_id", models.CharField(blank=True, default="", max_length=64, verbose_name="button")),
                ("action_data", models.JSONField(blank=True, default=dict, verbose_name="data")),
                ("timestamp", models.DateTimeField(auto_now_add=True, verbose_name="time")),
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("screen", models.CharField(blank=True, max_length=100)),
                (
                    "notification",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="analytics",
                        to=settings.WEBPUSH_KIT_NOTIFICATION_MODEL,
                        verbose_name="notification",
                    ),
                ),
            ],
            options={
                "verbose_name": "notification event",
                "verbose_name_plural": "notification events",
                "abstract": False,
            },
        ),
        migrations.CreateModel(
            name="Wording",
            fields=[
                ("type", models.CharField(max_length=50, verbose_name="type")),
                ("language", models.CharField(blank=True, default="", max_length=35, verbose_name="language")),
                ("title_template", models.CharField(max_length=200, verbose_name="title")),
                ("body_template", models.TextField(blank=True, verbose_name="body")),
                ("url_template", models.CharField(blank=True, max_length=500, verbose_name="URL")),
                ("icon_template", models.CharField(blank=True, max_length=500, verbose_name="icon")),
                ("require_interaction", models.BooleanField(default=False, verbose_name="require interaction")),
                ("silent", models.BooleanField(default=False, verbose_name="silent")),
                ("vibrate_pattern", models.JSONField(blank=True, default=list, verbose_name="vibration pattern")),
                ("actions", models.JSONField(blank=True, default=list, verbose_name="actions")),
                ("options", models.JSONField(blank=True, default=dict, verbose_name="further options")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
                ("id", models.UUIDField(default=uuid.uuid4, editable=False, primary_key=True, serialize=False)),
                ("approved_by", models.CharField(blank=True, max_length=100)),
            ],
            options={
                "verbose_name": "notification template",
                "verbose_name_plural": "notification templates",
                "abstract": False,
                "constraints": [models.UniqueConstraint(fields=("type", "language"), name="swapped_wording_once")],
            },
        ),
        migrations.AddField(
            model_name="letter",
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
        migrations.AddIndex(
            model_name="browser",
            index=models.Index(fields=["is_active", "id"], name="swapped_bro_is_acti_b661db_idx"),
        ),
        migrations.AddIndex(
            model_name="browser",
            index=models.Index(fields=["created_at"], name="swapped_bro_created_81a747_idx"),
        ),
        migrations.AddIndex(
            model_name="browser",
            index=models.Index(fields=["deactivated_at"], name="swapped_bro_deactiv_a5ff6a_idx"),
        ),
        migrations.AddIndex(
            model_name="browser",
            index=models.Index(
                fields=["push_service", "vapid_key_id", "is_active"], name="swapped_bro_push_se_5153bb_idx"
            ),
        ),
        migrations.AddConstraint(
            model_name="browser",
            constraint=models.UniqueConstraint(fields=("endpoint_hash",), name="swapped_browser_endpoint"),
        ),
        migrations.AddConstraint(
            model_name="browser",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_active", True), ("deactivated_at__isnull", False), _connector="OR"),
                name="swapped_browser_dated",
            ),
        ),
        migrations.AddIndex(
            model_name="reaction",
            index=models.Index(fields=["timestamp"], name="swapped_rea_timesta_d7c17a_idx"),
        ),
        migrations.AddConstraint(
            model_name="reaction",
            constraint=models.UniqueConstraint(
                fields=("notification", "action_type", "action_id"), name="swapped_reaction_once"
            ),
        ),
        migrations.AddConstraint(
            model_name="reaction",
            constraint=models.CheckConstraint(
                condition=models.Q(("action_type__in", ["delivered", "clicked", "dismissed", "action_clicked"])),
                name="swapped_reaction_event",
            ),
        ),
        migrations.AddIndex(
            model_name="letter",
            index=models.Index(
                fields=["status", "lane", "next_attempt_at", "id"], name="swapped_let_status_7b1454_idx"
            ),
        ),
        migrations.AddIndex(
            model_name="letter",
            index=models.Index(fields=["created_at"], name="swapped_let_created_ded2d3_idx"),
        ),
        migrations.AddIndex(
            model_name="letter",
            index=models.Index(fields=["batch", "created_at"], name="swapped_let_batch_db5801_idx"),
        ),
        migrations.AddIndex(
            model_name="letter",
            index=models.Index(fields=["campaign"], name="swapped_let_campaig_2e7886_idx"),
        ),
        migrations.AddConstraint(
            model_name="letter",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("status__in", ["pending", "sending", "sent", "failed", "expired", "suppressed", "cancelled"])
                ),
                name="swapped_letter_status",
            ),
        ),
        migrations.AddConstraint(
            model_name="letter",
            constraint=models.CheckConstraint(
                condition=models.Q(("lane__lte", 2), ("lane", 9), _connector="OR"), name="swapped_letter_lane"
            ),
        ),
        migrations.AddConstraint(
            model_name="letter",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "sending"), _negated=True), ("lease_token__isnull", False), _connector="OR"
                ),
                name="swapped_letter_leased",
            ),
        ),
    ]
