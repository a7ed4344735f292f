"""Django tasks: its own since 6.0, or the backport."""

import pickle
from importlib.util import find_spec

import django
import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import transaction
from django.utils.module_loading import import_string

from django_webpush_kit import services
from django_webpush_kit.task_backends import DjangoTasksBackend, django_tasks
from django_webpush_kit.testing import outbox

PACKAGE = next((name for name in ("django.tasks", "django_tasks") if find_spec(name)), "")
PATH = "django_webpush_kit.task_backends.DjangoTasksBackend"


needs_tasks = pytest.mark.skipif(PACKAGE == "", reason="Django tasks are not installed")


@pytest.fixture
def tasks(settings, push_settings):
    """Backends of both kinds that come with Django; the host's push tasks have a queue of their own."""
    settings.TASKS = {
        "default": {"BACKEND": f"{PACKAGE}.backends.immediate.ImmediateBackend"},
        "later": {"BACKEND": f"{PACKAGE}.backends.dummy.DummyBackend", "QUEUES": ["push"]},
    }
    push_settings(TASK_BACKEND=PATH)


@pytest.fixture
def later(tasks, push_settings):
    """The backend that keeps what it is given."""
    options = {"backend": "later", "queue_name": "push", "seconds": 7, "workers": 3}
    push_settings(TASK_BACKEND={"BACKEND": PATH, "OPTIONS": options})
    backend = import_string(f"{PACKAGE}.task_backends")["later"]
    yield backend
    backend.clear()


@needs_tasks
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("tasks")
def test_the_immediate_backend_of_django_delivers_after_commit(subscription):
    with transaction.atomic():
        services.send(subscription, "Hello")
        services.send(subscription, "World")
        assert not outbox
    assert sorted(message.title for message in outbox) == ["Hello", "World"]


@needs_tasks
@pytest.mark.django_db(transaction=True)
def test_a_wake_up_is_a_task_without_data_in_the_configured_queue(subscription, later):
    services.send(subscription, "Secret")
    (result,) = later.results
    assert (result.args, result.kwargs) == ([], {})
    assert (result.task.backend, result.task.queue_name) == ("later", "push")
    assert "Secret" not in repr(result)


@needs_tasks
@pytest.mark.django_db
def test_a_worker_in_another_process_finds_the_task_by_its_path(subscription, later):
    services.send(subscription, "Hello")
    path = DjangoTasksBackend(backend="later", queue_name="push").task().module_path
    task = import_string(path)
    assert (task.backend, task.queue_name) == ("later", "push")
    assert task.call() == {"sent": 1}


@needs_tasks
@pytest.mark.usefixtures("tasks")
def test_queued_tasks_are_found_after_the_setting_changes(push_settings):
    push_settings(TASK_BACKEND="django_webpush_kit.task_backends.NullBackend")
    assert django_tasks.wake_up.backend == "default"


@needs_tasks
@pytest.mark.skipif(
    PACKAGE != "django.tasks" or django.VERSION < (6, 1), reason="tasks can be pickled since Django 6.1"
)
def test_the_task_can_be_pickled(later):
    task = DjangoTasksBackend(backend="later", queue_name="push").task()
    assert pickle.loads(pickle.dumps(task)) == task


def test_the_module_has_no_other_attributes():
    with pytest.raises(AttributeError, match="no attribute 'sleep'"):
        _ = django_tasks.sleep


def test_options_are_kept():
    backend = DjangoTasksBackend(seconds=7, workers=3)
    assert (backend.seconds, backend.workers, backend.backend, backend.queue_name) == (7, 3, "default", "default")


def test_without_any_django_tasks_the_error_names_the_extra(monkeypatch):
    monkeypatch.setattr(django_tasks, "find_spec", lambda name: None)
    with pytest.raises(ImproperlyConfigured, match=r"django-webpush-kit\[tasks\]"):
        DjangoTasksBackend().task()
