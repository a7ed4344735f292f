"""Fill an outbox, build its statistics, open the admin's page, prune, and print what each cost."""

import os

import django


def main() -> None:
    """Set Django up, then measure: only then can models be imported."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.statistics.settings")
    django.setup()
    from benchmarks.statistics import measure

    measure.main()


if __name__ == "__main__":
    main()
