"""Messages as a worker receives them."""

from celery.worker import request, state

from orchestrator_site.core import times


class Request(request.Request):
    """A message whose expiry goes by the clock of the house, as its sending did."""

    def maybe_expire(self) -> bool:
        """Return whether it is too late for this message; note it as revoked."""
        late = self.expires is not None and times.now() > self.expires
        if late:
            state.revoked.add(self.id)
        return late
