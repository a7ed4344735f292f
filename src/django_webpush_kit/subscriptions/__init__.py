"""Subscriptions of browsers: registration, preferences, deactivation, import."""
