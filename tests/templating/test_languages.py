"""Which stored language a recipient gets."""

import pytest
from django.conf.locale import LANG_INFO
from django.test import override_settings
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from django_webpush_kit.exceptions import TemplateNotFound
from django_webpush_kit.templating.languages import stored_language
from django_webpush_kit.templating.renderer import TemplateRenderer
from tests.templating.texts import new_template


@pytest.mark.parametrize(
    ("language", "stored", "expected"),
    [
        ("zh-CN", ["", "zh-hans", "zh-hant"], "zh-hans"),
        ("zh-TW", ["", "zh-hans", "zh-hant"], "zh-hant"),
        ("zh-HK", ["", "zh-hans", "zh-hant"], "zh-hant"),
        ("zh_Hant_TW", ["", "zh-hans", "zh-hant"], "zh-hant"),
        ("zh", ["", "zh-hant", "zh-hans"], "zh-hans"),
        ("sr", ["", "sr-latn"], "sr-latn"),
        ("pt", ["", "pt-br"], "pt-br"),
        ("pt-PT", ["", "pt-br"], "pt-br"),
        ("pt-PT", ["", "pt-br", "pt"], "pt"),
        ("es-MX", ["", "es"], "es"),
        ("es-MX", ["", "es", "es-mx"], "es-mx"),
        ("en-GB", ["", "en"], "en"),
        ("no", ["", "nb"], ""),
        ("nb-NO", ["", "nb"], "nb"),
        ("de", ["", "fr"], ""),
        ("", ["", "de"], ""),
        ("", ["de"], None),
        ("de", ["fr"], None),
        ("xx-" * 400, ["", "xx-yy"], "xx-yy"),
    ],
)
def test_languages_are_chosen_as_django_does(language, stored, expected):
    assert stored_language(language, stored) == expected


@given(
    st.sampled_from([*LANG_INFO, "zh-hant-tw", "xx", "pt-pt", "de-li", "sr-cyrl-rs"]),
    st.lists(st.sampled_from(sorted(code for code, info in LANG_INFO.items() if "name" in info)), unique=True),
)
def test_random_languages_are_chosen_as_django_does(language, stored):
    with override_settings(LANGUAGES=[(code, code) for code in stored], LANGUAGE_CODE="xx"):
        try:
            expected = translation.get_supported_language_variant(language)
        except LookupError:
            expected = ""
        assert stored_language(language, [*stored, ""]) == expected


@pytest.mark.parametrize(("language", "expected"), [("pt-BR", ""), ("pt-PT", "pt-pt"), ("pt", "pt-pt")])
def test_the_default_text_is_in_the_default_language(settings, language, expected):
    settings.LANGUAGE_CODE = "pt-br"
    assert stored_language(language, ["", "pt-pt"]) == expected


@pytest.mark.parametrize(
    ("language", "expected"),
    [("pt-BR", "Oi"), ("pt-PT", "Olá"), ("pt", "Olá"), ("de", "Hello"), ("", "Hello"), ("zh-TW", "Nihao")],
)
def test_the_nearest_language_is_rendered(language, expected):
    rows = [
        new_template(title_template="Hello"),
        new_template(language="pt", title_template="Olá"),
        new_template(language="pt_BR", title_template="Oi"),
        new_template(language="zh-Hant", title_template="Nihao"),
    ]
    one = TemplateRenderer("news", templates=rows)
    assert one.render(language).title == one.render(language).title == expected


def test_a_language_without_a_fallback_is_an_error_that_lists_the_existing_ones():
    with pytest.raises(TemplateNotFound, match=r"'news' exists in \['de'\], but neither in 'fr' nor"):
        TemplateRenderer("news", templates=[new_template(language="de")]).render("fr")
