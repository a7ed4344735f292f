"""`manage.py load_studio`: notification templates, members and next week's courses; running it again adds nothing."""

from datetime import datetime, time, timedelta

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import make_password
from django.core.management import BaseCommand, call_command
from django.db import transaction
from django.utils import timezone

from django_webpush_kit.models import get_template_model
from studio.models import Course

PASSWORD = "studio"
MEMBERS = [("kaethe", "Käthe"), ("juergen", "Jürgen"), ("zoe", "Zoë")]

# title, description, teacher, room, days ahead, hour, places
COURSES = [
    (
        "Pottery for the Impatient 🏺",
        "A bowl in sixty minutes. It may even be round.",
        "Änne Groß",
        "Clay Room",
        1,
        18,
        8,
    ),
    (
        "Yoga for Late Risers 🧘",
        "Nobody speaks before the second breath, nor before the first coffee.",
        "Björn Östlund",
        "Attic",
        2,
        9,
        12,
    ),
    (
        "Cheese Making with Feeling 🧀",
        "Stir, wait, stir, wait, eat.",
        "Françoise Müller",
        "Kitchen",
        3,
        17,
        6,
    ),
    (
        "Drums for the Shy 🥁",
        "We begin very, very softly.",
        "Jörg Weiß",
        "Cellar",
        4,
        20,
        4,
    ),
]


class Command(BaseCommand):
    help = "Loads notification templates, demo members and courses."

    @transaction.atomic
    def handle(self, *, verbosity, **_options):
        if not get_template_model().objects.filter(type="booking_confirmed").exists():
            call_command("loaddata", "studio_templates", verbosity=0)
        self._add_members()
        if not Course.objects.upcoming().exists():
            Course.objects.bulk_create(map(_course, COURSES))
        if verbosity:
            self.stdout.write(f"{Course.objects.upcoming().count()} courses to book.")

    def _add_members(self):
        users = get_user_model().objects
        password = make_password(PASSWORD)
        for username, first_name in MEMBERS:
            users.get_or_create(username=username, defaults={"first_name": first_name, "password": password})
        staff = {"first_name": "Grünspecht", "password": password, "is_staff": True, "is_superuser": True}
        users.get_or_create(username="admin", defaults=staff)


def _course(row):
    title, description, teacher, room, days, hour, places = row
    day = timezone.localdate() + timedelta(days=days)
    starts_at = timezone.make_aware(datetime.combine(day, time(hour)))
    return Course(title=title, description=description, teacher=teacher, room=room, starts_at=starts_at, places=places)
