"""A circuit breaker: who fails again and again is left alone for a while, then tried with one message (reliability.md, R8)."""

from dataclasses import dataclass, field

FAILURES_MAX = 5
# A blip at the moment of publishing must not cost a minute: each time that it opens again it stays so twice as long, up to the
# minute that a fall-back provider is promised within.
FIRST_DOWN_S = 2.0
DOWN_S = 60.0


@dataclass(slots=True)
class Breaker:
    """Closed, open, or half open. `now` is a monotonic clock's, in seconds."""

    failures_max: int = FAILURES_MAX
    down_s: float = field(default_factory=lambda: DOWN_S)
    failures: int = 0
    opened: int = 0
    open_until: float | None = None

    def allowance(self, now: float) -> int | None:
        """Return how many messages may be tried now: None is any number, 0 none, 1 a single one to find out."""
        if self.open_until is None:
            return None
        return 0 if now < self.open_until else 1

    def worked(self) -> None:
        """The provider answered as it should: all is forgotten."""
        self.failures, self.opened, self.open_until = 0, 0, None

    def failed(self, now: float, *, wait_s: float | None = None) -> None:
        """Count a failure; `wait_s` is how long the provider itself asked to be left alone."""
        self.failures += 1
        if self.open_until is not None and now < self.open_until:
            return  # it was under way when another one opened it
        if wait_s is not None or self.failures >= self.failures_max or self.open_until is not None:
            down_s = min(self.down_s, FIRST_DOWN_S * 2**self.opened)
            self.opened = min(self.opened + 1, 16)
            self.open_until = now + max(down_s, wait_s or 0.0)
