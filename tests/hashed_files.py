"""Storages that rename static files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.staticfiles.storage import ManifestStaticFilesStorage


class AggregatingStorage(ManifestStaticFilesStorage):
    """The one that rewrites the imports of modules."""

    support_js_module_import_aggregation = True


class HashedOnlyStorage(ManifestStaticFilesStorage):
    """As WhiteNoise with WHITENOISE_KEEP_ONLY_HASHED_FILES: files without a hash in their names go."""

    def post_process(self, *args: Any, **options: Any) -> Iterator[tuple[str, str | None, bool]]:
        processed = list(super().post_process(*args, **options))
        for name, hashed, _ in processed:
            if name != hashed:
                self.delete(name)
        yield from processed
