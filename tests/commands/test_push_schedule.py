"""`manage.py push_schedule`."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command

pytest.importorskip("django_q")

from django_q.models import Schedule

pytestmark = pytest.mark.django_db


def test_installing_schedules_twice_makes_no_duplicates(push_settings):
    push_settings(TASK_BACKEND="django_webpush_kit.task_backends.DjangoQBackend")
    out = StringIO()
    call_command("push_schedule", stdout=out)
    call_command("push_schedule", stdout=StringIO())
    assert sorted(out.getvalue().splitlines()) == sorted(
        f"Scheduled: {name}" for name in Schedule.objects.values_list("name", flat=True)
    )
    assert Schedule.objects.filter(func="django_webpush_kit.tasks.send_scheduled_notifications", minutes=1).count() == 1


def test_a_backend_without_schedules_says_what_to_do_instead():
    with pytest.raises(CommandError, match="deliver_push --loop"):
        call_command("push_schedule")
