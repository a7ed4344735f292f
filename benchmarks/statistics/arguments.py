"""The options that the benches of lists and statistics share."""

from __future__ import annotations

import argparse

DATABASES = ("postgresql", "mariadb", "sqlite")


def parser_of(module: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that both benches have."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description)
    parser.add_argument("--database", choices=DATABASES, default=DATABASES[0], help="default: %(default)s")
    parser.add_argument("--rows", type=int, default=1_000_000, help="notifications (default: 1,000,000)")
    parser.add_argument("--plans", action="store_true", help="print the plans of all queries")
    parser.add_argument("--keep", action="store_true", help="keep the database, and use it again")
    return parser
