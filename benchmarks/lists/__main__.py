"""Fill an outbox, open each page of the admin that lists or shows its rows, and print what each cost."""

import os

import django

from benchmarks.statistics.arguments import parser_of


def main() -> None:
    """Set Django up for the database of the command line, then measure: only then can models be imported."""
    options = parser_of("benchmarks.lists", __doc__).parse_args()
    os.environ["TEST_DATABASE"] = options.database
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.statistics.settings")
    django.setup()
    from benchmarks.lists import measure

    measure.main(options)


if __name__ == "__main__":
    main()
