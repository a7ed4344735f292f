"""Fill the tables with SQL: users, subscriptions, templates, broadcasts, notifications over 90 days, their events."""

from __future__ import annotations

from django.db import connection

DAYS = 90
SUBSCRIPTIONS = 200_000

USERS = 100_000

STATEMENTS = (
    """
    INSERT INTO auth_user (username, email, password, first_name, last_name, is_superuser, is_staff, is_active,
        date_joined)
    SELECT 'user' || i, 'user' || i || '@example.com', '!', '', '', false, false, true, now()
    FROM generate_series(1, {users}) i
    """,
    """
    INSERT INTO webpush_kit_pushsubscription (endpoint, endpoint_hash, p256dh_key, auth_key, preferences, is_active,
        deactivated_at, deactivation_reason, push_service, vapid_key_id, language, timezone, token_version, user_agent,
        created_at, updated_at, user_id)
    SELECT 'https://push.example.com/' || i, md5(i::text) || md5((i + 1)::text), 'key', 'auth', '{{}}', i %% 20 > 0,
        CASE WHEN i %% 20 = 0 THEN now() - (i %% {days}) * interval '1 day' END,
        CASE WHEN i %% 40 = 0 THEN 'unsubscribed' ELSE '' END,
        (ARRAY['fcm.googleapis.com', 'updates.push.services.mozilla.com', 'web.push.apple.com',
            'notify.windows.com'])[1 + i %% 4], '', (ARRAY['en', 'de', 'fr', 'es', 'pt-br'])[1 + i %% 5], '', 0,
        (ARRAY['Chrome', 'Firefox', 'Safari', 'Edge'])[1 + i %% 4],
        now() - (i %% {days}) * interval '1 day', now(), (SELECT min(id) FROM auth_user) + (i - 1) %% {users}
    FROM generate_series(1, {subscriptions}) i
    """,
    """
    INSERT INTO webpush_kit_notificationtemplate (type, language, title_template, body_template, url_template,
        icon_template, require_interaction, silent, vibrate_pattern, actions, options, created_at, updated_at)
    SELECT 'type' || i %% 8, (ARRAY['', 'de', 'fr'])[1 + i / 8], 'Hello', '', '', '', false, false, '[]', '[]', '{{}}',
        now(), now() FROM generate_series(0, 23) i
    """,
    """
    INSERT INTO webpush_kit_pushbroadcast (batch, type, audience, context, options, texts, status, lane, rate, cursor,
        total, processed, queued, suppressed, failed, failure_reason, created_at, finished_at)
    SELECT md5('b' || i)::uuid, 'type' || i %% 8, 'all', '{{}}', '{{}}', '{{}}', 'completed', 1, '', '', 0, 0, 0, 0, 0,
        '', now() - i * interval '1 day' - interval '12 hours', now() - i * interval '1 day'
    FROM generate_series(0, {days} - 1) i
    """,
    """
    INSERT INTO webpush_kit_pushnotification (batch, type, language, title, body, data, options, topic, status, lane,
        next_attempt_at, retry_count, max_retries, claims, created_at, sent_at, response_status, failure_reason,
        attempt_log, subscription_id, template_id, user_id)
    SELECT CASE WHEN i %% 3 = 0 THEN md5('b' || i %% {days})::uuid ELSE md5(i::text)::uuid END, 'type' || i %% 8,
        (ARRAY['', 'de', 'fr'])[1 + i %% 3], 'A title of usual length', 'A body that is a little longer than the title',
        '{{}}', '{{}}', '', status, 1, created, 0, 3, 0, created,
        CASE WHEN status = 'sent' THEN created + interval '1 second' END,
        CASE WHEN status = 'sent' THEN 201 WHEN status = 'failed' THEN 410 END,
        CASE status WHEN 'failed' THEN 'HTTP 410' WHEN 'suppressed' THEN 'Blocked by user preferences' ELSE '' END, '',
        (SELECT min(id) FROM webpush_kit_pushsubscription) + (i::bigint * 7919) %% {subscriptions},
        (SELECT min(id) FROM webpush_kit_notificationtemplate) + i %% 24,
        (SELECT min(id) FROM auth_user) + (i::bigint * 7919) %% {subscriptions} %% {users}
    FROM (SELECT i, now() - (i %% {days}) * interval '1 day' - random() * interval '12 hours' AS created,
            CASE WHEN i %% 100 < 93 THEN 'sent' WHEN i %% 100 < 97 THEN 'failed' WHEN i %% 100 < 99 THEN 'suppressed'
            ELSE 'expired' END AS status
        FROM generate_series(1, {notifications}) i) AS rows
    """,
    """
    INSERT INTO webpush_kit_notificationanalytics (notification_id, action_type, action_id, action_data, timestamp)
    SELECT id, action, CASE action WHEN 'action_clicked' THEN 'open' ELSE '' END, '{{}}',
        sent_at + random() * random() * interval '1 hour'
    FROM webpush_kit_pushnotification,
        (VALUES ('delivered', 100), ('clicked', 70), ('action_clicked', 75), ('dismissed', 80)) AS kinds (action, share)
    WHERE status = 'sent' AND id %% 100 < share
    """,
)


def fill(notifications: int) -> None:
    """Write all rows and let PostgreSQL look at them."""
    values = {"notifications": notifications, "subscriptions": SUBSCRIPTIONS, "users": USERS, "days": DAYS}
    with connection.cursor() as cursor:
        for statement in STATEMENTS:
            cursor.execute(statement.format(**values).replace("%%", "%"))
        cursor.execute("VACUUM (ANALYZE)")
