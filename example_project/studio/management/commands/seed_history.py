"""`manage.py seed_history`: a sample history of 90 days for the admin. Running it again adds nothing within a day."""

from datetime import timedelta
from io import StringIO

from django.core.management import BaseCommand, call_command
from django.utils import timezone

from django_webpush_kit.models import PushBroadcast
from studio import sample_history


class Command(BaseCommand):
    help = "Writes a sample history of 90 days for the pages of the admin. Nothing of it is sent."

    def add_arguments(self, parser):
        parser.add_argument("--again", action="store_true", help="write it again, even if it is not a day old")
        parser.add_argument("--forget", action="store_true", help="delete it")

    def handle(self, *, verbosity, again, forget, **_options):
        if forget:
            sample_history.forget()
            self._count_days()
            return
        newest = PushBroadcast.objects.filter(audience="sample").order_by("-created_at").first()
        if newest and not again and newest.created_at > timezone.now() - timedelta(days=1):
            return
        number = sample_history.seed()
        self._count_days()
        if verbosity:
            self.stdout.write(f"{number} sample notifications of {sample_history.DAYS} days.")

    def _count_days(self):
        """Build the daily statistics, which the hourly cleanup would build for days that are new to it."""
        call_command("push_stats", rebuild=True, days=sample_history.COUNTED_DAYS, stdout=StringIO())
