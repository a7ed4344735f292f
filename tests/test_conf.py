"""Settings read through, and the keyring."""

from django_webpush_kit.conf import KitSettings, Setting, kit_settings, vapid_keyring


def test_a_setting_is_read_through_on_an_instance_and_describes_itself_on_the_class(settings):
    settings.WEBPUSH_KIT = {"MAX_RETRIES": 7}
    assert kit_settings.MAX_RETRIES == 7
    assert isinstance(KitSettings.MAX_RETRIES, Setting)


def test_a_subscription_that_names_no_key_was_made_with_the_current_one():
    keyring = vapid_keyring()
    assert keyring.find("") is keyring.current
    assert keyring.find(keyring.current.key_id) is keyring.current
    assert keyring.find("unknown") is None
