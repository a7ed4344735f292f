"""Fill an outbox, open each page of the admin that lists or shows its rows, and print what each cost."""

import os

import django


def main() -> None:
    """Set Django up, then measure: only then can models be imported."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.lists.settings")
    django.setup()
    from benchmarks.lists import measure

    measure.main()


if __name__ == "__main__":
    main()
