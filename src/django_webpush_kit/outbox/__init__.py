"""The side of the callers: recipients, outbox rows and broadcasts."""
