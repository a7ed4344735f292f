"""Settings of every process of the bench: those of the fault bench, with a database that is far away."""

from benchmarks.chaos import settings as chaos

globals().update({name: value for name, value in vars(chaos).items() if name.isupper()})

SECONDS = 3
"""After so long a peer that does not answer is gone. The how-to has longer ones."""

DATABASES = {
    "default": {
        **chaos.DATABASES["default"],
        "OPTIONS": {
            "connect_timeout": 2,
            # what this side notices
            "keepalives_idle": SECONDS,
            "keepalives_interval": 1,
            "keepalives_count": 3,
            "tcp_user_timeout": SECONDS * 1000,
            # what the server notices: the locks of a host that is gone are free again
            "options": " ".join(
                f"-c {name}={value}"
                for name, value in {
                    "tcp_keepalives_idle": SECONDS,
                    "tcp_keepalives_interval": 1,
                    "tcp_keepalives_count": 3,
                    "tcp_user_timeout": SECONDS * 1000,
                    "idle_in_transaction_session_timeout": SECONDS * 1000,
                }.items()
            ),
        },
    }
}
