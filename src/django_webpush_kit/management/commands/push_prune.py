"""`manage.py push_prune`: what the hourly cleanup does, now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from django_webpush_kit.delivery.pruning import clean_up


class Command(BaseCommand):
    """Deactivate what has expired and delete what is past its retention."""

    help = "Deactivate expired subscriptions; delete what is older than RETENTION_DAYS and IDEMPOTENCY_DAYS."

    def handle(self, *args: Any, **options: Any) -> None:
        """Clean up and say how much it was."""
        counts = clean_up()
        self.stdout.write(f"Deactivated: {counts.pop('expired')} expired subscriptions")
        for name, count in counts.items():
            self.stdout.write(f"Deleted: {count} {name.replace('_', ' ')}")
