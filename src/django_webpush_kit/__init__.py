"""Web push for Django: a database outbox, fast delivery, templates, preferences, statistics."""
