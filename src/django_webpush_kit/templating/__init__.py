"""Notification templates: validation, rendering, preview, lint."""
