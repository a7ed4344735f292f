"""Every table, with no foreign key among the four swappable models; `0002_relations` adds those. Never squash the two:
a host that swaps a model in its own migrations needs the tables of the others before, and the relations after.
"""

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
            name="IdempotencyKey",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                (
                    "key_hash",
                    models.CharField(editable=False, max_length=64, verbose_name="SHA-256 of the key"),
                ),
                ("batch", models.UUIDField(verbose_name="batch")),
                ("queued", models.PositiveBigIntegerField(default=0)),
                ("deferred", models.PositiveBigIntegerField(default=0)),
                ("suppressed", models.PositiveBigIntegerField(default=0)),
                ("failed", models.PositiveBigIntegerField(default=0)),
                ("recipients", models.PositiveBigIntegerField(default=0)),
                ("unreachable", models.PositiveBigIntegerField(default=0)),
                (
                    "created_at",
                    models.DateTimeField(db_index=True, default=django.utils.timezone.now, verbose_name="created at"),
                ),
            ],
            options={
                "verbose_name": "idempotency key",
                "verbose_name_plural": "idempotency keys",
                "constraints": [models.UniqueConstraint(fields=("key_hash",), name="webpush_kit_idempotencykey_once")],
            },
        ),
        migrations.CreateModel(
            name="NotificationTemplate",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("type", models.CharField(max_length=50, verbose_name="type")),
                (
                    "language",
                    models.CharField(blank=True, default="", max_length=35, verbose_name="language"),
                ),
                ("title_template", models.CharField(max_length=200, verbose_name="title")),
                ("body_template", models.TextField(blank=True, verbose_name="body")),
                ("url_template", models.CharField(blank=True, max_length=500, verbose_name="URL")),
                ("icon_template", models.CharField(blank=True, max_length=500, verbose_name="icon")),
                (
                    "require_interaction",
                    models.BooleanField(default=False, verbose_name="require interaction"),
                ),
                ("silent", models.BooleanField(default=False, verbose_name="silent")),
                (
                    "vibrate_pattern",
                    models.JSONField(blank=True, default=list, verbose_name="vibration pattern"),
                ),
                ("actions", models.JSONField(blank=True, default=list, verbose_name="actions")),
                ("options", models.JSONField(blank=True, default=dict, verbose_name="further options")),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
            ],
            options={
                "verbose_name": "notification template",
                "verbose_name_plural": "notification templates",
                "swappable": "WEBPUSH_KIT_TEMPLATE_MODEL",
                "constraints": [
                    models.UniqueConstraint(fields=("type", "language"), name="webpush_kit_notificationtemplate_once")
                ],
            },
        ),
        migrations.CreateModel(
            name="PushSubscription",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("endpoint", models.URLField(max_length=2048, verbose_name="endpoint")),
                ("endpoint_hash", models.CharField(editable=False, max_length=64)),
                ("p256dh_key", models.CharField(max_length=255)),
                ("auth_key", models.CharField(max_length=255)),
                (
                    "expiration_time",
                    models.DateTimeField(blank=True, null=True, verbose_name="expiration time"),
                ),
                ("preferences", models.JSONField(blank=True, default=dict, verbose_name="preferences")),
                ("is_active", models.BooleanField(default=True, verbose_name="active")),
                (
                    "deactivated_at",
                    models.DateTimeField(blank=True, null=True, verbose_name="deactivated at"),
                ),
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
                (
                    "ip_address",
                    models.GenericIPAddressField(blank=True, null=True, verbose_name="IP address"),
                ),
                ("created_at", models.DateTimeField(auto_now_add=True, verbose_name="created at")),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
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
                "swappable": "WEBPUSH_KIT_SUBSCRIPTION_MODEL",
            },
        ),
        migrations.CreateModel(
            name="PushNotification",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
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
                "swappable": "WEBPUSH_KIT_NOTIFICATION_MODEL",
            },
        ),
        migrations.CreateModel(
            name="PushBroadcast",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                (
                    "batch",
                    models.UUIDField(default=uuid.uuid4, editable=False, unique=True, verbose_name="batch"),
                ),
                ("type", models.CharField(max_length=50, verbose_name="type")),
                ("audience", models.CharField(default="all", max_length=100, verbose_name="audience")),
                ("context", models.JSONField(blank=True, default=dict, verbose_name="context")),
                ("options", models.JSONField(blank=True, default=dict, verbose_name="options")),
                ("texts", models.JSONField(blank=True, default=dict, editable=False)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "pending"),
                            ("running", "running"),
                            ("paused", "paused"),
                            ("completed", "completed"),
                            ("cancelled", "cancelled"),
                            ("failed", "failed"),
                        ],
                        default="pending",
                        max_length=20,
                        verbose_name="status",
                    ),
                ),
                ("scheduled_for", models.DateTimeField(blank=True, null=True, verbose_name="scheduled for")),
                (
                    "lane",
                    models.PositiveSmallIntegerField(
                        choices=[(0, "high"), (1, "normal"), (2, "low"), (9, "isolated")], default=1, editable=False
                    ),
                ),
                ("rate", models.CharField(blank=True, max_length=20, verbose_name="rate")),
                ("next_page_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("cursor", models.TextField(blank=True, editable=False)),
                (
                    "total",
                    models.PositiveBigIntegerField(default=0, editable=False, verbose_name="recipients"),
                ),
                (
                    "processed",
                    models.PositiveBigIntegerField(default=0, editable=False, verbose_name="processed"),
                ),
                ("queued", models.PositiveBigIntegerField(default=0, editable=False, verbose_name="queued")),
                (
                    "suppressed",
                    models.PositiveBigIntegerField(default=0, editable=False, verbose_name="suppressed"),
                ),
                ("failed", models.PositiveBigIntegerField(default=0, editable=False, verbose_name="failed")),
                ("lease_token", models.UUIDField(blank=True, editable=False, null=True)),
                ("lease_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("failure_reason", models.CharField(blank=True, max_length=200, verbose_name="reason")),
                (
                    "created_at",
                    models.DateTimeField(default=django.utils.timezone.now, editable=False, verbose_name="created at"),
                ),
                (
                    "started_at",
                    models.DateTimeField(blank=True, editable=False, null=True, verbose_name="started at"),
                ),
                (
                    "finished_at",
                    models.DateTimeField(blank=True, editable=False, null=True, verbose_name="finished at"),
                ),
                (
                    "created_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
            ],
            options={
                "base_manager_name": "objects",
                "verbose_name": "broadcast",
                "verbose_name_plural": "broadcasts",
            },
        ),
        migrations.CreateModel(
            name="ApiLocation",
            fields=[
                ("id", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("path", models.CharField(max_length=200, verbose_name="path")),
                ("changed_at", models.DateTimeField(verbose_name="changed at")),
            ],
            options={"verbose_name": "API location", "verbose_name_plural": "API locations"},
        ),
        migrations.CreateModel(
            name="PushServiceState",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("push_service", models.CharField(max_length=255, verbose_name="push service")),
                ("vapid_key_id", models.CharField(blank=True, max_length=32, verbose_name="VAPID key")),
                ("paused_until", models.DateTimeField(blank=True, null=True, verbose_name="paused until")),
                ("reason", models.CharField(blank=True, max_length=100, verbose_name="reason")),
                ("failures", models.PositiveIntegerField(default=0, verbose_name="failures in a row")),
                ("suspects", models.JSONField(blank=True, default=dict, editable=False)),
                ("accepted_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("rate", models.FloatField(blank=True, null=True, verbose_name="messages per minute")),
                ("rate_changed_at", models.DateTimeField(blank=True, editable=False, null=True)),
                ("permits_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("waiting_until", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "paused_by_hand_at",
                    models.DateTimeField(blank=True, editable=False, null=True, verbose_name="paused by hand since"),
                ),
                ("updated_at", models.DateTimeField(auto_now=True, verbose_name="updated at")),
            ],
            options={
                "base_manager_name": "objects",
                "verbose_name": "push service state",
                "verbose_name_plural": "push service states",
                "constraints": [
                    models.UniqueConstraint(
                        fields=("push_service", "vapid_key_id"), name="webpush_kit_pushservicestate_once"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="NotificationAnalytics",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
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
            ],
            options={
                "verbose_name": "notification event",
                "verbose_name_plural": "notification events",
                "swappable": "WEBPUSH_KIT_ANALYTICS_MODEL",
                "indexes": [models.Index(fields=["timestamp"], name="webpush_kit_timesta_999206_idx")],
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            ("action_type__in", ["delivered", "clicked", "dismissed", "action_clicked"])
                        ),
                        name="webpush_kit_notificationanalytics_event",
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="pushsubscription",
            index=models.Index(fields=["is_active", "id"], name="webpush_kit_is_acti_897152_idx"),
        ),
        migrations.AddIndex(
            model_name="pushsubscription",
            index=models.Index(
                fields=["push_service", "vapid_key_id", "is_active"], name="webpush_kit_push_se_a7330e_idx"
            ),
        ),
        migrations.AddConstraint(
            model_name="pushsubscription",
            constraint=models.UniqueConstraint(fields=("endpoint_hash",), name="webpush_kit_pushsubscription_endpoint"),
        ),
        migrations.AddConstraint(
            model_name="pushsubscription",
            constraint=models.CheckConstraint(
                condition=models.Q(("is_active", True), ("deactivated_at__isnull", False), _connector="OR"),
                name="webpush_kit_pushsubscription_dated",
            ),
        ),
        migrations.AddIndex(
            model_name="pushnotification",
            index=models.Index(
                fields=["status", "lane", "next_attempt_at", "id"], name="webpush_kit_status_1c4647_idx"
            ),
        ),
        migrations.AddIndex(
            model_name="pushnotification",
            index=models.Index(fields=["created_at"], name="webpush_kit_created_3a2b13_idx"),
        ),
        migrations.AddIndex(
            model_name="pushnotification",
            index=models.Index(fields=["batch", "created_at"], name="webpush_kit_batch_0dc6f2_idx"),
        ),
        migrations.AddConstraint(
            model_name="pushnotification",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    (
                        "status__in",
                        ["pending", "sending", "sent", "failed", "expired", "suppressed", "cancelled"],
                    )
                ),
                name="webpush_kit_pushnotification_status",
            ),
        ),
        migrations.AddConstraint(
            model_name="pushnotification",
            constraint=models.CheckConstraint(
                condition=models.Q(("lane__lte", 2), ("lane", 9), _connector="OR"),
                name="webpush_kit_pushnotification_lane",
            ),
        ),
        migrations.AddConstraint(
            model_name="pushnotification",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("status", "sending"), _negated=True),
                    ("lease_token__isnull", False),
                    _connector="OR",
                ),
                name="webpush_kit_pushnotification_leased",
            ),
        ),
        migrations.AddIndex(
            model_name="pushbroadcast",
            index=models.Index(fields=["status", "scheduled_for"], name="webpush_kit_status_fd70bd_idx"),
        ),
        migrations.AddIndex(
            model_name="pushsubscription",
            index=models.Index(fields=["created_at"], name="webpush_kit_created_65c7c4_idx"),
        ),
        migrations.AddIndex(
            model_name="pushsubscription",
            index=models.Index(fields=["deactivated_at"], name="webpush_kit_deactiv_0818d8_idx"),
        ),
        migrations.CreateModel(
            name="OutboxDay",
            fields=[
                ("day", models.DateField(primary_key=True, serialize=False, verbose_name="day")),
                ("rolled_up_at", models.DateTimeField(blank=True, null=True, verbose_name="rolled up at")),
                ("changed_at", models.DateTimeField(blank=True, null=True, verbose_name="changed at")),
                ("build_seconds", models.FloatField(default=0, editable=False)),
                ("unfinished", models.PositiveBigIntegerField(default=0, verbose_name="unfinished")),
                ("progress", models.JSONField(blank=True, editable=False, null=True)),
                ("deletions", models.PositiveBigIntegerField(default=0, editable=False)),
                ("checked_until", models.DateTimeField(blank=True, editable=False, null=True)),
                ("subscribers", models.PositiveBigIntegerField(blank=True, null=True, verbose_name="subscribers")),
                ("is_blanked", models.BooleanField(default=False, verbose_name="texts deleted")),
            ],
            options={"verbose_name": "day of the outbox", "verbose_name_plural": "days of the outbox"},
        ),
        migrations.CreateModel(
            name="DailyStatistics",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("day", models.DateField(verbose_name="day")),
                ("dimension", models.CharField(max_length=20, verbose_name="dimension")),
                ("value", models.CharField(blank=True, max_length=200, verbose_name="value")),
                ("queued", models.PositiveBigIntegerField(default=0)),
                ("accepted", models.PositiveBigIntegerField(default=0)),
                ("failed", models.PositiveBigIntegerField(default=0)),
                ("expired", models.PositiveBigIntegerField(default=0)),
                ("suppressed", models.PositiveBigIntegerField(default=0)),
                ("cancelled", models.PositiveBigIntegerField(default=0)),
                ("shown", models.PositiveBigIntegerField(default=0)),
                ("clicked", models.PositiveBigIntegerField(default=0)),
                ("body_clicked", models.PositiveBigIntegerField(default=0)),
                ("button_clicked", models.PositiveBigIntegerField(default=0)),
                ("dismissed", models.PositiveBigIntegerField(default=0)),
                ("gone", models.PositiveBigIntegerField(default=0)),
                ("unsubscribed", models.PositiveBigIntegerField(default=0)),
                ("opted_out", models.PositiveBigIntegerField(default=0)),
                ("subscribers_gained", models.PositiveBigIntegerField(default=0)),
                ("subscribers_lost", models.PositiveBigIntegerField(default=0)),
                ("show_times", models.JSONField(blank=True, default=dict)),
                ("kept", models.JSONField(blank=True, default=dict, editable=False)),
            ],
            options={
                "verbose_name": "daily statistics",
                "verbose_name_plural": "daily statistics",
                "indexes": [
                    models.Index(fields=["dimension", "day"], name="webpush_kit_dimensi_089045_idx"),
                    models.Index(fields=["day"], name="webpush_kit_day_019993_idx"),
                ],
            },
        ),
        migrations.CreateModel(
            name="WorkerHeartbeat",
            fields=[
                (
                    "id",
                    models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID"),
                ),
                ("name", models.CharField(max_length=200, unique=True, verbose_name="worker")),
                ("version", models.CharField(blank=True, max_length=50, verbose_name="version")),
                ("command", models.CharField(blank=True, max_length=100, verbose_name="command")),
                ("is_loop", models.BooleanField(default=False, verbose_name="runs all the time")),
                ("started_at", models.DateTimeField(verbose_name="started at")),
                ("seen_at", models.DateTimeField(verbose_name="last seen at")),
                ("swept_at", models.DateTimeField(blank=True, null=True, verbose_name="last sweep at")),
                ("ended_at", models.DateTimeField(blank=True, null=True, verbose_name="ended at")),
                ("ending", models.CharField(blank=True, max_length=100, verbose_name="how it ended")),
                ("rows", models.PositiveBigIntegerField(default=0, verbose_name="notifications")),
                (
                    "per_minute",
                    models.FloatField(blank=True, null=True, verbose_name="notifications per minute"),
                ),
                (
                    "clock_difference",
                    models.FloatField(blank=True, null=True, verbose_name="clock ahead by seconds"),
                ),
            ],
            options={"base_manager_name": "objects", "verbose_name": "worker", "verbose_name_plural": "workers"},
        ),
    ]
