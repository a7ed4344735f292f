"""Daily statistics: count outbox rows by day, dimension and value."""
