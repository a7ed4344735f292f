"""What a host is told that chose a backend without installing its queue."""

from importlib.util import find_spec

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_webpush_kit import tasks
from django_webpush_kit.task_backends import CeleryBackend, DjangoQBackend, DjangoTasksBackend
from django_webpush_kit.task_backends.celery import register_tasks


def absent(*modules):
    return pytest.mark.skipif(any(map(find_spec, modules)), reason=f"{modules[0]} is installed")


@absent("django_q")
def test_without_django_q2_the_error_names_the_extra():
    with pytest.raises(ImproperlyConfigured, match=r"django-webpush-kit\[q2\]"):
        DjangoQBackend()


@absent("celery")
def test_without_celery_the_error_names_the_extra_and_tasks_stay_plain_functions():
    with pytest.raises(ImproperlyConfigured, match=r"django-webpush-kit\[celery\]"):
        CeleryBackend()
    register_tasks({"name": tasks.wake_up})


@absent("django.tasks", "django_tasks")
def test_without_django_tasks_the_error_names_the_extra():
    with pytest.raises(ImproperlyConfigured, match=r"django-webpush-kit\[tasks\]"):
        DjangoTasksBackend().wake()
