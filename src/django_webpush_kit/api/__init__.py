"""The HTTP API of browsers and pages: subscribe, preferences, events, health."""
