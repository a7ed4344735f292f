"""The tables of the reference pages hold what the code has, and nothing else."""

from __future__ import annotations

import ast
import inspect
import json
import re
from dataclasses import fields
from pathlib import Path

import pytest
from django.contrib.auth.models import AnonymousUser
from django.template import Context, Template
from django.test import RequestFactory

import django_webpush_kit
from django_webpush_kit import base_models, exceptions, models, querysets, signals, testing
from django_webpush_kit.delivery import claiming, eligibility, manual_pause, pacing, requests, transitions
from django_webpush_kit.outbox import rows
from django_webpush_kit.protocol.message import Message
from django_webpush_kit.protocol.responses import Outcome, TransportError
from django_webpush_kit.services import CANCELLED
from django_webpush_kit.states import ActionType
from django_webpush_kit.subscriptions import deactivation, preferences
from django_webpush_kit.templatetags.webpush_kit import webpush_kit_head
from django_webpush_kit.templating.engine import TAGS
from django_webpush_kit.templating.filters import FILTERS
from django_webpush_kit.templating.preview import template_variables
from django_webpush_kit.testing import pytest_plugin

ROOT = Path(django_webpush_kit.__file__).parent
DOCS = Path(__file__).resolve().parent.parent / "docs"
MODULES = {
    ".".join(["django_webpush_kit", *path.relative_to(ROOT).with_suffix("").parts]): path.read_text()
    for path in sorted(ROOT.rglob("*.py"))
}


def page(name):
    return (DOCS / name).read_text()


def section(text, heading):
    """The text below a heading of the second level, up to the next one."""
    found = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found, heading
    return found[1]


def tables(text):
    """The rows of each table in a text, without its head: lists of cells."""
    found = []
    for block in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        lines = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in block.splitlines()]
        found.append(lines[2:])
    return found


def names(cells):
    return [name for cell in cells for name in re.findall(r"`([^`]+)`", cell)]


class TestSignals:
    PAGE = page("reference/signals.md")

    @pytest.mark.thorough
    def test_arguments_match_the_code(self):
        (table,) = tables(self.PAGE.partition("\n## ")[0])
        assert {row[0].strip("`"): names([row[1]]) for row in table} == sent_arguments()

    @pytest.mark.parametrize(
        ("heading", "values"),
        [
            ("subscription_created", [signals.NEW, signals.REACTIVATED, signals.NEW_OWNER]),
            ("post_send", [outcome.value for outcome in Outcome]),
        ],
    )
    def test_values_match_the_code(self, heading, values):
        (table,) = tables(section(self.PAGE, heading))
        assert [json.loads(name) for name in names(row[0] for row in table)] == values

    def test_events_match_the_code(self):
        assert sorted(re.findall(r'`"(\w+)"`', section(self.PAGE, "event_recorded"))) == sorted(ActionType.values)


def sent_arguments():
    """The keyword arguments of each signal, as the source sends it."""
    sent = {}
    for text in MODULES.values():
        for call in filter(lambda node: isinstance(node, ast.Call), ast.walk(ast.parse(text))):
            if isinstance(call.func, ast.Name) and call.func.id == "emit":
                signal = call.args[0]
            elif isinstance(call.func, ast.Attribute) and call.func.attr == "send_robust":
                signal = call.func.value
            else:
                continue
            if isinstance(signal, ast.Name) and hasattr(signals, signal.id):
                sent[signal.id] = [keyword.arg for keyword in call.keywords]
    return sent


SWAPPABLE = {
    "PushSubscription": base_models.AbstractPushSubscription,
    "NotificationTemplate": base_models.AbstractNotificationTemplate,
    "PushNotification": base_models.AbstractPushNotification,
    "NotificationAnalytics": base_models.AbstractNotificationAnalytics,
}
FIXED = {
    model.__name__: model
    for model in (
        models.PushBroadcast,
        models.IdempotencyKey,
        models.PushServiceState,
        models.ApiLocation,
        models.OutboxDay,
        models.DailyStatistics,
        models.WorkerHeartbeat,
    )
}
QUERYSETS = {
    "PushSubscription": querysets.PushSubscriptionQuerySet,
    "NotificationTemplate": querysets.NotificationTemplateQuerySet,
    "PushNotification": querysets.PushNotificationQuerySet,
}


class TestModels:
    PAGE = page("reference/models.md")

    def test_every_model_has_its_section(self):
        assert re.findall(r"^## (\w+)$", self.PAGE, re.MULTILINE) == [*SWAPPABLE, *FIXED]

    def test_every_fixed_model_is_tested_here(self):
        defined = {
            name
            for name, value in vars(models).items()
            if inspect.isclass(value) and value.__module__ == models.__name__ and hasattr(value, "_meta")
        }
        assert defined == {*SWAPPABLE, *FIXED}

    @pytest.mark.parametrize("name", [*SWAPPABLE, *FIXED])
    def test_fields_are_those_of_the_model(self, name):
        written = {row[0].strip("`"): row[1].strip("`") for row in tables(section(self.PAGE, name))[0]}
        model = SWAPPABLE.get(name) or FIXED[name]
        expected = {field.name: type(field).__name__ for field in model._meta.local_fields}
        assert written == ({"id": "BigAutoField"} if name in SWAPPABLE else {}) | expected

    @pytest.mark.parametrize("name", SWAPPABLE)
    def test_reverse_names_are_those_of_the_model(self, name):
        written = {
            row[0].strip("`"): re.findall(r"Reverse name: `(\w+)`", row[2])
            for row in tables(section(self.PAGE, name))[0]
        }
        expected = {
            field.name: [field.remote_field.related_name]
            for field in SWAPPABLE[name]._meta.local_fields
            if field.remote_field
        }
        assert {field: reverse for field, reverse in written.items() if reverse} == expected

    @pytest.mark.parametrize("name", QUERYSETS)
    def test_methods_of_querysets_are_listed(self, name):
        own = {
            method: list(inspect.signature(function).parameters)[1:]
            for method, function in vars(QUERYSETS[name]).items()
            if inspect.isfunction(function) and not method.startswith("_")
        }
        written = {
            found[1]: re.findall(r"\w+(?==|,|$)", found[2])
            for row in tables(section(self.PAGE, name))[1]
            if (found := re.fullmatch(r"`(\w+)\((.*)\)`", row[0]))
        }
        assert {method: arguments[: len(own[method])] for method, arguments in written.items()} == own

    @pytest.mark.parametrize(
        ("name", "field", "values"),
        [
            ("PushBroadcast", "status", models.PushBroadcast.Status.values),
            ("NotificationAnalytics", "action_type", ActionType.values),
        ],
    )
    def test_choices_are_those_of_the_field(self, name, field, values):
        (row,) = [row for row in tables(section(self.PAGE, name))[0] if row[0] == f"`{field}`"]
        assert names([row[2]]) == values


class TestExceptions:
    (TABLE,) = tables(page("reference/exceptions.md"))

    def test_every_exception_is_listed(self):
        every = [name for name, value in vars(exceptions).items() if inspect.isclass(value)]
        assert sorted(names(row[0] for row in self.TABLE)) == sorted(every)

    @pytest.mark.parametrize("row", TABLE, ids=lambda row: row[0].strip("`"))
    def test_base_classes_match_the_code(self, row):
        exception = getattr(exceptions, row[0].strip("`"))
        bases = [base.__name__ for base in exception.__bases__ if base not in (exceptions.WebPushKitError, Exception)]
        assert names([row[1]]) == bases


class TestTemplateTag:
    ARGUMENTS, METAS = tables(page("reference/template-tags.md"))

    def test_arguments_and_defaults_match_the_code(self):
        parameters = list(inspect.signature(webpush_kit_head).parameters.values())[1:]
        expected = [(parameter.name, parameter.default) for parameter in parameters]
        assert [(row[0].strip("`"), ast.literal_eval(row[1].strip("`"))) for row in self.ARGUMENTS] == expected

    @pytest.mark.django_db
    def test_meta_elements_are_those_of_a_page(self):
        request = RequestFactory().get("/")
        request.user = AnonymousUser()
        html = Template("{% load webpush_kit %}{% webpush_kit_head %}").render(Context({"request": request}))
        assert [row[0].strip("`") for row in self.METAS] == re.findall(r'<meta name="([\w-]+)"', html)


class TestTemplateLanguage:
    PAGE = page("reference/template-language.md")

    def test_tags_are_those_of_the_engine(self):
        listed = re.sub(r"\(.*?\)", "", section(self.PAGE, "Tags"))
        assert sorted(names([listed])) == sorted(TAGS)

    def test_filters_are_those_of_the_engine(self):
        listed = section(self.PAGE, "Filters").partition("\n\nEverything")[0]
        assert names([listed]) == sorted(FILTERS)

    def test_variables_of_the_bundled_templates_match_them(self):
        (table,) = tables(section(self.PAGE, "Bundled templates"))
        written = {row[0].strip("`"): (set(names([row[1]])), set(names([row[2]]))) for row in table}
        assert written == bundled_variables()


def bundled_variables():
    """The required and the optional variables of each type that the package brings."""
    entries = json.loads((ROOT / "fixtures/notification_templates.json").read_text())
    found = {}
    for entry in entries:
        kept = {name: value for name, value in entry["fields"].items() if not name.endswith("_at")}
        template = models.get_template_model()(**kept)
        required, optional = found.setdefault(template.type, (set(), set()))
        for variable in template_variables(template):
            (required if variable.is_required else optional).add(variable.name)
    return found


class TestPayload:
    PAGE = page("reference/payload.md")
    TYPES = (ROOT / "static/django_webpush_kit/push-payload.d.ts").read_text()

    @staticmethod
    def members(types, interface):
        body = re.search(rf"interface {interface} \{{(.*?)\n\}}", types, re.DOTALL)[1]
        return re.findall(r"^  (\w+)\??:", body, re.MULTILINE)

    def test_members_are_those_of_the_types(self):
        table = tables(self.PAGE.partition("\n## ")[0])[0]
        assert sorted(names(row[0] for row in table)) == sorted(self.members(self.TYPES, "PushPayload"))

    def test_members_of_the_notification_are_those_of_a_message(self):
        (table,) = tables(section(self.PAGE, "notification"))
        assert names(row[0] for row in table) == [part.metadata["name"] for part in fields(Message) if part.metadata]

    def test_the_example_has_no_other_members(self):
        example = json.loads(re.search(r"```json\n(.*?)```", self.PAGE, re.DOTALL)[1])
        assert set(example) <= set(self.members(self.TYPES, "PushPayload"))
        assert set(example["notification"]) <= set(self.members(self.TYPES, "PushNotificationMembers"))


class TestTestingKit:
    PAGE = page("reference/testing.md")

    def test_every_name_is_listed(self):
        table = tables(self.PAGE.partition("\n## ")[0])[0]
        assert sorted(names(row[0] for row in table)) == sorted(testing.__all__)

    def test_every_fixture_is_listed(self):
        (table,) = tables(section(self.PAGE, "Fixtures of pytest"))
        written = re.findall(r"@pytest.fixture\ndef (\w+)", inspect.getsource(pytest_plugin))
        assert names(row[0] for row in table) == written

    @pytest.mark.parametrize("name", ["SentMessage", "FakePushService", "FakeBrowser", "PushTestCaseMixin"])
    def test_every_attribute_is_listed(self, name):
        kind = getattr(testing, name)
        source = inspect.getsource(kind)
        own = {attribute for attribute in vars(kind) if not attribute.startswith("_")} - {"run"}
        own |= set(re.findall(r"^        self\.([a-z]\w*)(?::[^=]+)? = ", source, re.MULTILINE))
        own |= {part.name for part in getattr(kind, "__dataclass_fields__", {}).values()}
        (table,) = tables(section(self.PAGE, name))
        assert sorted(re.match(r"`(\w+)", row[0])[1] for row in table) == sorted(own)

    def test_defaults_of_faults_match_the_code(self):
        (table,) = tables(section(self.PAGE, "Fault"))
        written = {row[0].strip("`"): ast.literal_eval(row[1].strip("`")) for row in table}
        fault = testing.Fault()
        assert written == {part.name: getattr(fault, part.name) for part in fields(fault)}


class TestLoggers:
    def test_every_module_that_logs_is_listed(self):
        table = tables(page("reference/loggers.md"))[0]
        logging_modules = [name for name, text in MODULES.items() if "logging.getLogger(" in text]
        assert sorted(names(row[0] for row in table)) == sorted(logging_modules)

    def test_modules_log_under_their_own_names(self):
        given = {argument for text in MODULES.values() for argument in re.findall(r"logging\.getLogger\((.*)\)", text)}
        assert given == {"__name__"}


class TestRunbook:
    """The reasons in the outbox that the code gives are explained to the person on call."""

    REASONS = tuple(row[0] for row in tables(section(page("how-to/runbook.md"), "Failure reasons"))[0])

    @pytest.mark.parametrize(
        "reason",
        [
            CANCELLED,
            claiming.QUARANTINED,
            deactivation.OWNER_CHANGED,
            eligibility.PAUSED,
            manual_pause.PAUSED_BY_HAND,
            pacing.WAITS,
            preferences.BLOCKED,
            preferences.QUIET,
            preferences.QUIET_TOO_LONG,
            rows.SUPERSEDED,
            f"Subscription {transitions.OTHER_KEY}",
        ],
    )
    def test_a_reason_is_explained(self, reason):
        assert reason in self.REASONS

    @pytest.mark.parametrize("module", [eligibility, requests], ids=lambda module: module.__name__.rpartition(".")[2])
    def test_reasons_written_in_the_source_are_explained(self, module):
        source = inspect.getsource(module)
        given = set(re.findall(r'(?:CANCELLED|SUPPRESSED|EXPIRED|FAILED), "(.+?)"', source))
        given |= set(re.findall(r'postponed\(row, .*, "(.+?)"\)', source))
        assert given
        assert given <= set(self.REASONS)

    def test_problems_reported_by_health_are_explained(self):
        source = "".join(MODULES[f"django_webpush_kit.{name}"] for name in ("health", "delivery.problems", "database"))
        for row in tables(section(page("how-to/runbook.md"), "Look"))[0]:
            for part in row[0].strip('"').split("..."):
                assert part.strip() in source, row[0]

    @pytest.mark.parametrize("error", list(TransportError))
    def test_an_error_of_the_network_is_explained(self, error):
        assert any(error.value in reason for reason in self.REASONS)


def test_the_comparison_is_that_of_the_readme():
    readme = (DOCS.parent / "README.md").read_text()
    link = "https://django-webpush-kit.readthedocs.io/en/latest/explanation/performance.html"
    (here,) = tables(page("explanation/comparison.md"))
    assert here in tables(readme.replace(link, "performance.md"))


def test_the_readme_links_to_every_page():
    readme = (DOCS.parent / "README.md").read_text()
    linked = set(re.findall(r"readthedocs\.io/en/latest/([\w/-]+)\.html", readme))
    pages = {path.relative_to(DOCS).with_suffix("").as_posix() for path in DOCS.rglob("*.md")}
    assert {name for name in pages if "/" in name} <= linked <= pages
