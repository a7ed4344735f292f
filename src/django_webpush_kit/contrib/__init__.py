"""Integrations with other packages: Django REST framework, Prometheus, OpenTelemetry."""
