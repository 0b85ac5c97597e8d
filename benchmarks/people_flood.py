"""A flood of sign-ups from as many networks as it likes, offered at its own pace whatever the answers. Run in a process of its own."""

import asyncio
import json
import statistics
import sys
import time
from collections import Counter

import aiohttp

TIMEOUT_S = 30.0
CONNECTIONS = 200
LATE_S = 0.5  # an offer that could not be made in time is counted, not made up


async def flood(url: str, *, per_s: int, seconds: int, networks: int) -> dict[str, object]:
    """Offer `per_s` sign-ups a second, each a new address, from `networks` client addresses in turn."""
    statuses: Counter[str] = Counter()
    took: list[float] = []
    late = 0
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:

        async def one(number: int) -> None:
            network = number % networks
            headers = {
                "X-Forwarded-For": f"{100 + network // 65536}.{network // 256 % 256}.{network % 256}.7"
            }
            form = {
                "want": "tell",
                "address": f"flood{number}@flood{number % 997}.example",
                "language": "en",
            }
            began = time.monotonic()
            try:
                async with session.post(url, data=form, headers=headers) as answer:
                    await answer.read()
                    statuses[str(answer.status)] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                statuses[type(error).__name__] += 1
            took.append(time.monotonic() - began)

        started = time.monotonic()
        running: set[asyncio.Task[None]] = set()
        total = per_s * seconds
        for number in range(total):
            due = started + number / per_s
            wait = due - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            elif wait < -LATE_S:
                late += 1
            task = asyncio.create_task(one(number))
            running.add(task)
            task.add_done_callback(running.discard)
        offered_s = time.monotonic() - started
        await asyncio.gather(*running)
    return {
        "offered": total,
        "offered_s": offered_s,
        "late": late,
        "statuses": dict(statuses),
        "median_ms": statistics.median(took) * 1e3,
        "most_ms": max(took) * 1e3,
    }


def main() -> int:
    url, per_s, seconds, networks = sys.argv[1], *map(int, sys.argv[2:5])
    found = asyncio.run(flood(url, per_s=per_s, seconds=seconds, networks=networks))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
