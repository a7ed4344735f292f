from collections.abc import Iterable, Iterator

from django_webpush_kit.transports import PushRequest, PushResponse, Transport


class PrintingTransport(Transport):
    def send(self, requests: Iterable[PushRequest]) -> Iterator[PushResponse]:
        for request in requests:
            yield PushResponse(id=request.id, status=201 if request.ttl else 400)

    def close(self) -> None:
        """Nothing is open."""
