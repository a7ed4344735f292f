"""Fill an outbox, build its statistics, open the admin's page, prune, and print what each cost."""

import os

import django

from benchmarks.statistics.arguments import parser_of


def main() -> None:
    """Set Django up for the database of the command line, then measure: only then can models be imported."""
    parser = parser_of("benchmarks.statistics", __doc__)
    parser.add_argument("--prune-days", type=int, default=75, help="delete what is older than so many days")
    options = parser.parse_args()
    os.environ["TEST_DATABASE"] = options.database
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.statistics.settings")
    django.setup()
    from benchmarks.statistics import measure

    measure.main(options)


if __name__ == "__main__":
    main()
