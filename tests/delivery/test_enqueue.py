"""Writing the outbox: what a page leaves behind."""

import gc

import pytest

from django_webpush_kit import services
from django_webpush_kit.exceptions import TemplateRenderError
from tests.factories import make_template

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[True, False], ids=["collecting", "not-collecting"])
def collector(request):
    was_enabled = gc.isenabled()
    (gc.enable if request.param else gc.disable)()
    yield request.param
    (gc.enable if was_enabled else gc.disable)()


def test_the_garbage_collector_is_left_as_it_was_found(subscription, collector):
    assert services.send(subscription, "Hello").queued == 1
    assert gc.isenabled() is collector


def test_the_garbage_collector_is_left_as_it_was_found_when_a_row_cannot_be_written(user, subscription, collector):
    type(user).objects.update(first_name="x" * 150)
    make_template("greeting", title_template="{{ recipient.first_name }} {{ recipient.first_name }}")
    with pytest.raises(TemplateRenderError):
        services.send_templated("greeting", to=subscription)
    assert gc.isenabled() is collector
