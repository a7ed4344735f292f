from tests.transports.conftest import browser, certificates, server

__all__ = ["browser", "certificates", "server"]
