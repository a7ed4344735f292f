"""A made-up history of 90 days, so that every page of the admin has something to show. Nothing of it is ever sent.

Users are called sample-001 and so on, titles begin with "Sample:", and the endpoints lead nowhere.
"""

import random
import uuid
from datetime import timedelta
from hashlib import sha256
from itertools import count

from django.contrib.auth import get_user_model
from django.db import transaction
from django.utils import timezone

from django_webpush_kit.models import (
    PushBroadcast,
    get_analytics_model,
    get_notification_model,
    get_subscription_model,
    get_template_model,
)

DAYS = 90
COUNTED_DAYS = DAYS + 31  # the first subscriptions began a month before
MEMBERS = 100
PREFIX = "sample-"
NEWS = "studio_news"
STILL_PICTURE = "sample_never_finishes"
"""The type of the broadcast in progress: its pages show a still picture."""
NEVER = timedelta(days=3650)

SERVICES = {
    "fcm.googleapis.com": 55,
    "updates.push.services.mozilla.com": 20,
    "web.push.apple.com": 18,
    "notify.windows.com": 7,
}
LANGUAGES = {"en": 45, "de": 40, "fr": 10, "": 5}
TITLES = {
    "booking_confirmed": ("Sample: Booked: Pottery for the Impatient", "Sample: Gebucht: Töpfern für Ungeduldige"),
    "booking_reminder": ("Sample: Yoga for Late Risers starts in an hour", "Sample: Yoga beginnt in einer Stunde"),
    "course_moved": ("Sample: Drums for the Shy has a new time", "Sample: Neue Zeit für Trommeln"),
}
OUTCOMES = {"sent": 93, "failed": 2, "expired": 1, "suppressed": 3, "cancelled": 1}
REASONS = {
    "failed": ["HTTP 410: the subscription is gone", "HTTP 500 after 3 retries"],
    "suppressed": ["The user switched this type off"],
    "cancelled": ["Cancelled by the application"],
}
NEWS_HEADLINES = [
    "The kiln is repaired",
    "New: cold noodles",
    "Summer timetable",
    "We are closed on Monday",
    "Autumn sale of crooked bowls",
    "Two places left in Cheese Making",
]


def members():
    """The audience of the sample broadcasts."""
    return get_user_model().objects.filter(username__startswith=PREFIX)


@transaction.atomic
def seed(now=None):
    """Write the history up to now, in place of an older one. Returns the number of notifications."""
    now = now or timezone.now()
    forget()
    dice = random.Random(7)  # noqa: S311  # the same history every time
    subscriptions = _subscriptions(dice, now)
    rows = _daily_rows(dice, subscriptions, now)
    for number, headline in enumerate(NEWS_HEADLINES, 1):
        rows += _broadcast(dice, subscriptions, headline, now - timedelta(days=15 * (6 - number) + 3))
    rows += _broadcast(dice, subscriptions, "Open day on Saturday", now - timedelta(minutes=2), is_running=True)
    get_notification_model().objects.bulk_create(rows, batch_size=500)
    _report_events(dice, rows)
    return len(rows)


def forget():
    """Delete the sample history; subscriptions and notifications go with their users."""
    PushBroadcast.objects.filter(audience="sample").delete()
    members().delete()


def _subscriptions(dice, now):
    users = get_user_model().objects.bulk_create(
        get_user_model()(username=f"{PREFIX}{number:03}", first_name="Sample", last_name=str(number), password="!")
        for number in range(1, MEMBERS + 1)
    )
    model, numbers = get_subscription_model(), count(1)
    made = []
    for user in users:
        for _browser in range(dice.choice((1, 1, 1, 2))):
            number = next(numbers)
            ended = now - timedelta(days=dice.uniform(0, DAYS)) if dice.random() < 0.12 else None
            made.append(
                model(
                    user=user,
                    # .invalid never resolves (RFC 6761)
                    endpoint=f"https://sample.invalid/push/{sha256(str(number).encode()).hexdigest()}",
                    p256dh_key="sample",
                    auth_key="sample",
                    language=_pick(dice, LANGUAGES),
                    timezone=dice.choice(("Europe/Berlin", "Europe/Paris", "America/New_York", "")),
                    is_active=ended is None,
                    deactivated_at=ended,
                    deactivation_reason="" if ended is None else dice.choice(("unsubscribed", "gone (HTTP 410)")),
                )
            )
    made = model.objects.bulk_create(made)
    by_service = {}
    for subscription in made:
        subscription.push_service = _pick(dice, SERVICES)
        by_service.setdefault(subscription.push_service, []).append(subscription.pk)
        started = (subscription.deactivated_at or now) - timedelta(days=dice.uniform(1, DAYS))
        subscription.created_at = max(started, now - timedelta(days=COUNTED_DAYS - 1))
    for service, keys in by_service.items():
        model.objects.filter(pk__in=keys).update(push_service=service)
    model.objects.bulk_update(made, ["created_at"], batch_size=200)
    return made


def _daily_rows(dice, subscriptions, now):
    templates = {(row.type, row.language): row for row in get_template_model().objects.all()}
    rows = []
    first_day = timezone.localdate(now) - timedelta(days=DAYS - 1)
    for back in range(DAYS):
        is_weekend = (now - timedelta(days=back)).weekday() >= 5
        for _message in range(dice.randint(8, 16) if is_weekend else dice.randint(20, 40)):
            subscription = dice.choice(subscriptions)
            # most messages go out in the evening
            due = now - timedelta(days=back, hours=dice.triangular(0, 24, 5), minutes=2)
            if subscription.deactivated_at is not None and due > subscription.deactivated_at:
                continue
            if timezone.localdate(due) < first_day:
                continue
            kind = dice.choices(list(TITLES), weights=(5, 4, 1))[0]
            language = "de" if subscription.language == "de" else ""
            rows.append(
                _row(
                    dice,
                    subscription,
                    due,
                    type=kind,
                    language=language,
                    title=TITLES[kind][language == "de"],
                    body="Änne Groß is looking forward to it.",
                    template=templates.get((kind, language)),
                    batch=uuid.UUID(int=dice.getrandbits(128), version=4),
                )
            )
    return rows


def _broadcast(dice, subscriptions, headline, started_at, *, is_running=False):
    """Write one broadcast and return its rows, unsaved. A running one is left in the middle, and never goes on."""
    title = f"Sample: {headline}{' (a still picture: never finishes)' if is_running else ''}"
    kind = STILL_PICTURE if is_running else NEWS
    text = {"type": kind, "language": "", "title_template": title, "body_template": "More on our page.", "pk": None}
    rest = {"url_template": "/", "icon_template": "", "require_interaction": False, "silent": False}
    lists = {"vibrate_pattern": [], "actions": [], "options": {}}
    people = [one for one in subscriptions if one.deactivated_at is None or one.deactivated_at > started_at]
    reached = people[: len(people) * 2 // 3] if is_running else people
    written = [one for one in reached if dice.random() > 0.06]
    row = PushBroadcast.objects.create(
        type=kind,
        audience="sample",
        context={},
        texts={"templates": [{**text, **rest, **lists}], "is_free_text": True},
        status="running" if is_running else "completed",
        rate="30/m" if is_running else "",
        next_page_at=started_at + NEVER if is_running else None,
        cursor=str(reached[-1].pk),
        total=len(people),
        processed=len(reached),
        queued=len(written),
        suppressed=len(reached) - len(written),
        created_at=started_at - timedelta(minutes=3),
        started_at=started_at,
        finished_at=None if is_running else started_at + timedelta(seconds=4),
    )
    rows = []
    for number, subscription in enumerate(written):
        is_sending = is_running and number >= len(written) * 3 // 4
        details = {"type": kind, "title": title, "body": "More on our page.", "batch": row.batch}
        due = started_at + timedelta(seconds=number / 2 if is_running else number / 50)
        rows.append(_row(dice, subscription, due, is_sending=is_sending, **details))
    return rows


def _row(dice, subscription, due, *, is_sending=False, **fields):
    status = "sending" if is_sending else _pick(dice, OUTCOMES)
    sent_at = due + timedelta(seconds=dice.uniform(0.1, 3)) if status == "sent" else None
    return get_notification_model()(
        subscription=subscription,
        user_id=subscription.user_id,
        status=status,
        created_at=due,
        # a lease that never lapses: workers leave the row alone
        next_attempt_at=due + NEVER if is_sending else due,
        lease_token=uuid.UUID(int=dice.getrandbits(128), version=4) if is_sending else None,
        sent_at=sent_at,
        response_status=201 if status == "sent" else None,
        failure_reason=dice.choice(REASONS.get(status, [""])),
        **fields,
    )


def _report_events(dice, rows):
    model = get_analytics_model()
    events = []
    for row in rows:
        if row.sent_at is None or dice.random() > 0.86:
            continue
        shown_at = row.sent_at + timedelta(seconds=dice.expovariate(1 / 8))
        events.append((row, "delivered", "", shown_at))
        fate = dice.random()
        if fate < 0.17:
            events.append((row, "clicked", "", shown_at + timedelta(seconds=dice.expovariate(1 / 240))))
        elif fate < 0.22:
            events.append((row, "action_clicked", "details", shown_at + timedelta(seconds=dice.expovariate(1 / 300))))
        elif fate < 0.5:
            events.append((row, "dismissed", "", shown_at + timedelta(seconds=dice.expovariate(1 / 900))))
    made = model.objects.bulk_create(
        (model(notification=row, action_type=action, action_id=name) for row, action, name, _moment in events),
        batch_size=500,
    )
    now = timezone.now()
    for event, (_row, _action, _name, moment) in zip(made, events, strict=True):
        event.timestamp = min(moment, now)
    model.objects.bulk_update(made, ["timestamp"], batch_size=500)


def _pick(dice, weights):
    return dice.choices(list(weights), weights=list(weights.values()))[0]
