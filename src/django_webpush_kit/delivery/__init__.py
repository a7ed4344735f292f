"""The side of the workers: claim due rows, send them, and record the outcomes."""
