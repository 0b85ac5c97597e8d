"""Many servers told at once: one that hangs keeps its own place, and the next recipient takes the next free one."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from threading import Semaphore
from typing import Final

from notifications.channels import Outcome, Recipient, retry

# Under way at once in one sending thread: a push service answers in some 50 ms, so twenty a second each. Below
# sending.TAKE_ROWS_MIN, so that a batch is longer than its places and one slow answer ends none of it.
ABREAST: Final = 16
# One host's at most: what it lets hang leaves as many to everybody else.
HOST_MAX: Final = ABREAST // 2
# How long one waits for a place at its host; not long, for it was asked about when it was pulled.
PLACE_WAIT_S: Final = 1.0


def send(
    batch: Iterator[Recipient],
    post: Callable[[Recipient], Outcome],
    *,
    host_of: Callable[[Recipient], str] | None = None,
) -> Iterator[tuple[str, Outcome]]:
    """Pull a recipient for each free place, yield each outcome once it is known; `host_of` bounds each host's places."""
    hosts: defaultdict[str, Semaphore] = defaultdict(lambda: Semaphore(HOST_MAX))
    under_way: dict[Future[Outcome], str] = {}
    with ThreadPoolExecutor(max_workers=ABREAST) as pool:
        for one in batch:
            if host_of is None:
                future = pool.submit(post, one)
            else:
                future = pool.submit(_at_its_host, hosts[host_of(one)], post, one)
            under_way[future] = one.delivery
            if len(under_way) == ABREAST:
                yield from _ended(under_way)
        while under_way:
            yield from _ended(under_way)


def _at_its_host(
    places: Semaphore, post: Callable[[Recipient], Outcome], one: Recipient
) -> Outcome:
    if not places.acquire(timeout=PLACE_WAIT_S):
        return retry("its host has not answered what it got for others yet")
    try:
        return post(one)
    finally:
        places.release()


def _ended(under_way: dict[Future[Outcome], str]) -> Iterator[tuple[str, Outcome]]:
    done, _ = wait(under_way, return_when=FIRST_COMPLETED)
    for future in done:
        yield under_way.pop(future), future.result()
