"""A circuit breaker: who fails again and again is left alone for a while, then tried with one message (reliability.md, R8)."""

from dataclasses import dataclass

FAILURES_MAX = 5
DOWN_S = (
    60.0  # the promise for a fall-back provider is a minute, so the first one is tried as often
)


@dataclass(slots=True)
class Breaker:
    """Closed, open, or half open. `now` is a monotonic clock's, in seconds."""

    failures_max: int = FAILURES_MAX
    down_s: float = DOWN_S
    failures: int = 0
    open_until: float | None = None

    def allowance(self, now: float) -> int | None:
        """Return how many messages may be tried now: None is any number, 0 none, 1 a single one to find out."""
        if self.open_until is None:
            return None
        return 0 if now < self.open_until else 1

    def worked(self) -> None:
        """The provider answered as it should: all is forgotten."""
        self.failures, self.open_until = 0, None

    def failed(self, now: float, *, wait_s: float | None = None) -> None:
        """Count a failure; `wait_s` is how long the provider itself asked to be left alone."""
        self.failures += 1
        if wait_s is not None or self.failures >= self.failures_max or self.open_until is not None:
            self.open_until = now + max(self.down_s, wait_s or 0.0)
