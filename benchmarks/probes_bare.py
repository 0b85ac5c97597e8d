"""The limit of a prober in Python: aiohttp alone, doing the same requests; a process of its own, as the agent is.

Prints one JSON object: `count`, `seconds`, `cpu_s`. Also drives a peer that probes on request.
"""

import argparse
import asyncio
import json
import resource
import sys
import time

import aiohttp


async def pump(url: str, *, concurrency: int, seconds: float, fresh: bool, wanted: bytes) -> int:
    """Ask as often as possible for so long; return how often the answer was right."""
    connector = aiohttp.TCPConnector(limit=0, force_close=fresh)
    count = 0
    async with aiohttp.ClientSession(
        connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        end = time.perf_counter() + seconds

        async def ask(number: int) -> None:
            nonlocal count
            while time.perf_counter() < end:
                async with session.get(f"{url}{number}") as answer:
                    body = await answer.read()
                    if answer.status != 200 or wanted not in body:
                        raise SystemExit(f"the answer was {answer.status} {body[:100]!r}")
                count += 1

        await asyncio.gather(*(ask(number) for number in range(concurrency)))
    return count


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.probes_bare")
    parser.add_argument("url", help="what is asked; a number is put behind it")
    parser.add_argument("--concurrency", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--kept", action="store_true", help="keep connections open")
    parser.add_argument("--wanted", default="", help="what each answer has to hold")
    given = parser.parse_args()
    began = time.perf_counter()
    count = asyncio.run(
        pump(
            given.url,
            concurrency=given.concurrency,
            seconds=given.seconds,
            fresh=not given.kept,
            wanted=given.wanted.encode(),
        )
    )
    used = resource.getrusage(resource.RUSAGE_SELF)
    took = time.perf_counter() - began
    print(json.dumps({"count": count, "seconds": took, "cpu_s": used.ru_utime + used.ru_stime}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
