"""`manage.py push_templates import|export|lint`."""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_webpush_kit.models import get_template_model
from tests.factories import make_template

NAN = float("nan")

pytestmark = pytest.mark.django_db


def run(*arguments):
    out = StringIO()
    call_command("push_templates", *arguments, stdout=out)
    return out.getvalue()


@pytest.fixture
def write(tmp_path):
    def write(value):
        path = tmp_path / "templates.json"
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return str(path)

    return write


def test_the_bundled_templates_are_imported_into_the_configured_model():
    assert run("import") == "10 created, 0 updated, 0 unchanged\n"
    assert run("import") == "0 created, 0 updated, 10 unchanged\n"
    assert get_template_model().objects.get(type="welcome", language="de").title_template.startswith("Willkommen")
    assert run("lint").endswith("No errors found.\n")


def test_an_export_can_be_imported_elsewhere(write):
    make_template(language="de", options={"ttl": 60}, actions=[{"action": "a", "title": "Öffnen"}])
    make_template()
    exported = run("export")
    assert "Öffnen" in exported
    get_template_model().objects.all().delete()
    assert run("import", write(exported)) == "2 created, 0 updated, 0 unchanged\n"
    assert run("export") == exported


def test_a_changed_template_is_updated_unless_keep_is_given(write):
    make_template("a", title_template="Old")
    path = write([{"type": "a", "title_template": "New"}])
    assert run("import", path, "--keep") == "0 created, 0 updated, 1 unchanged\n"
    assert get_template_model().objects.get().title_template == "Old"
    assert run("import", path) == "0 created, 1 updated, 0 unchanged\n"
    assert get_template_model().objects.get().title_template == "New"


def test_templates_can_be_read_from_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", StringIO('[{"type": "a", "title_template": "x"}]'))
    assert run("import", "-") == "1 created, 0 updated, 0 unchanged\n"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ("// texts.json\n[]", "JSON has no comments"),
        ('[\n  {"type": "a"}, # the first\n  {"type": "b"}]', "JSON has no comments"),
        ({}, "JSON list"),
        ([7], "Entry 0 must be an object"),
        ([{"title_template": "x"}], "Entry 0 must be an object with a type"),
        ([{"type": "a", "fields": 7}], "Entry 0 must be an object"),
        ([{"type": ["a"]}], "Entry 0 must be an object with a type"),
        ([{"type": "a\x00"}], "Entry 0 must be an object with a type"),
        ([{"type": "a", "language": None}], "Entry 0: language must be text"),
        ([{"type": "a", "title_template": "x\ud800"}], "title_template: must not contain null characters"),
        (
            [{"type": "a", "title_template": "x", "options": {"data": {"x": NAN}}}],
            "options: must not contain nan",
        ),
        ("[" * 100_000, "nested too deeply"),
        ([{"type": "a", "titel": "x"}], "unknown key 'titel'"),
        ([{"type": "a", "title_template": "{% debug %}"}], r"Template a \(default\): title_template: .*debug"),
        ([{"type": "a", "language": "de"}], r"Template a \(de\): title_template"),
    ],
)
def test_an_error_in_a_file_is_reported_and_nothing_is_imported(write, content, words):
    good = {"type": "good", "title_template": "x"}
    value = [*content, good][::-1] if isinstance(content, list) and content != [7] else content
    if isinstance(value, list) and value is not content:
        words = words.replace("Entry 0", "Entry 1")
    with pytest.raises(CommandError, match=words):
        run("import", write(value))
    assert not get_template_model().objects.exists()


def test_a_missing_file_is_reported():
    with pytest.raises(CommandError, match=r"nowhere\.json could not be read"):
        run("import", "nowhere.json")


def test_lint_lists_problems_and_fails():
    make_template("a", body_template="{% debug %}")
    out = StringIO()
    with pytest.raises(CommandError, match=r"^1 error found\.$"):
        call_command("push_templates", "lint", stdout=out)
    assert out.getvalue().startswith("a: malformed\na: body_template: ")
    make_template("b", body_template="{% debug %}")
    with pytest.raises(CommandError, match=r"^2 errors found\.$"):
        run("lint")


def test_lint_lists_the_variables_of_each_template():
    make_template("a", body_template="{% if where %}{{ where }}{% endif %}{{ recipient.first_name }}")
    make_template("a", language="de", title_template="Neu")
    assert run("lint") == (
        "a: variables: number, where (optional), recipient.first_name\na (de): no variables\nNo errors found.\n"
    )


@pytest.mark.parametrize(
    ("languages", "words"),
    [
        (["de", "fr", "de"], r"Entries 1 and 3 are the same template: type 'a', language 'de'\."),
        (["pt-br", "pt_BR"], "Entries 1 and 2 are the same template: type 'a', language 'pt-br'"),
        (["", ""], "Entries 1 and 2 are the same template: type 'a', language 'default'"),
    ],
)
def test_the_same_template_twice_in_a_file_is_refused(write, languages, words):
    entries = [{"type": "a", "language": tag, "title_template": "x"} for tag in languages]
    path = write([{"type": "b", "title_template": "x"}, *entries])
    with pytest.raises(CommandError, match=words):
        run("import", path)
    assert not get_template_model().objects.exists()
