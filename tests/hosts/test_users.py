"""Projects whose users are their own: other keys, no is_active, e-mail for a name, a swapped model beside them."""

from __future__ import annotations

from tests.hosts.host import Host, goes_the_whole_way

MODELS = """
import uuid

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.db import models
from django_webpush_kit.base_models import AbstractPushSubscription


class Manager(BaseUserManager):
    def create_superuser(self, email, password=None):
        user = self.model(email=email, is_superuser=True)
        user.set_password(password)
        user.save(using=self._db)
        return user


class Person(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    email = models.EmailField(unique=True)
    deleted_at = models.DateTimeField(null=True)

    objects = Manager()

    USERNAME_FIELD = "email"

    @property
    def is_staff(self):
        return self.is_superuser


class Browser(AbstractPushSubscription):
    nickname = models.CharField(max_length=50, blank=True)
"""

SETTINGS = """
INSTALLED_APPS += ["people"]
AUTH_USER_MODEL = "people.Person"
WEBPUSH_KIT_SUBSCRIPTION_MODEL = "people.Browser"
"""

ADMIN = """
from django.contrib import admin
from django_webpush_kit.admin import PushSubscriptionAdmin

from people.models import Browser

admin.site.register(Browser, PushSubscriptionAdmin)
"""


def test_a_custom_user_and_subscription_model_in_one_app(tmp_path, push_service):
    files = {
        "people/__init__.py": "",
        "people/models.py": MODELS,
        "people/admin.py": ADMIN,
        "people/migrations/__init__.py": "",
    }
    host = Host(tmp_path, settings=SETTINGS, files=files)
    host.set_up("--email", "admin@example.com")
    with host.served() as origin:
        visitor = goes_the_whole_way(
            origin, push_service, prepare=lambda visitor: visitor.log_in("admin@example.com"), admin=""
        )
        for page in ("people/browser", "webpush_kit/pushnotification", "webpush_kit/pushbroadcast"):
            visitor.get(f"/admin/{page}/")
