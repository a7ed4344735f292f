"""A project with a schema for each tenant, by django-tenants on PostgreSQL; the how-to's own code stands beside it."""

import os

from tests.settings import *  # noqa: F403  # settings extend others
from tests.settings import DATABASES, INSTALLED_APPS, MIDDLEWARE, WEBPUSH_KIT

DATABASES["default"]["ENGINE"] = "django_tenants.postgresql_backend"
DATABASE_ROUTERS = ("django_tenants.routers.TenantSyncRouter",)

SHARED_APPS = ["django_tenants", "shops", "django.contrib.contenttypes"]
TENANT_APPS = [app for app in INSTALLED_APPS if app != "django_q"]
INSTALLED_APPS = [*SHARED_APPS, *(app for app in TENANT_APPS if app not in SHARED_APPS)]
MIDDLEWARE = ["django_tenants.middleware.main.TenantMainMiddleware", *MIDDLEWARE]
TENANT_MODEL, TENANT_DOMAIN_MODEL = "shops.Shop", "shops.Domain"
ALLOWED_HOSTS = [".example.com"]
# one that processes share, as Redis would be
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.filebased.FileBasedCache",
        "LOCATION": os.environ["TENANTS_CACHE"],
    }
}
WEBPUSH_KIT = {
    **WEBPUSH_KIT,
    "SCOPE": "shops.tenants.current_schema",
    "TASK_BACKEND": "tests.backends.CountingQueue",
    "ALLOW_ANONYMOUS": True,
}
