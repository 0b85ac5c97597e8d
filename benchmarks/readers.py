"""Readers of the page at a steady pace, whatever the server does: `python -m benchmarks.readers PORT PER_S`.

Prints one JSON object when it is ended by SIGTERM: what was asked, what failed, how long answers took.
"""

import asyncio
import contextlib
import json
import signal
import sys
import time
from dataclasses import dataclass, field

CONNECTIONS = 20
TIMEOUT_S = 5.0


@dataclass
class Seen:
    asked: int = 0
    failed: int = 0
    why: str = ""
    took_ms: list[float] = field(default_factory=list)


async def _reader(port: int, each_s: float, begin: float, seen: Seen) -> None:
    streams = None
    number = 0
    request = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAccept-Encoding: br\r\n\r\n".encode()
    while True:
        due = begin + number * each_s
        number += 1
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        seen.asked += 1
        started = time.monotonic()
        try:
            async with asyncio.timeout(TIMEOUT_S):
                if streams is None:
                    streams = await asyncio.open_connection("127.0.0.1", port)
                stays = await _ask(*streams, request)
            if not stays:
                streams = None
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError) as error:
            seen.failed += 1
            seen.why = f"{type(error).__name__}: {error}"
            streams = None
        seen.took_ms.append((time.monotonic() - started) * 1000)


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
    """Ask once; return whether the connection stays. Raises ValueError when the answer is not the page."""
    writer.write(request)
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise ValueError(head.split(b"\r\n", 1)[0].decode())
    length = int(head.split(b"content-length:")[1].split(b"\r\n")[0])
    await reader.readexactly(length)
    if b"connection: close" in head:
        writer.close()
        return False
    return True


async def main(port: int, per_s: float) -> None:
    seen = Seen()
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    each_s = CONNECTIONS / per_s
    begin = time.monotonic()
    tasks = [
        asyncio.create_task(_reader(port, each_s, begin + number * each_s / CONNECTIONS, seen))
        for number in range(CONNECTIONS)
    ]
    await ended.wait()
    took = time.monotonic() - begin
    for task in tasks:
        task.cancel()
    for task in tasks:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    ordered = sorted(seen.took_ms) or [0.0]
    found = {
        "asked": seen.asked,
        "failed": seen.failed,
        "why": seen.why,
        "per_s": round(seen.asked / took, 1),
        "p50_ms": round(ordered[len(ordered) // 2], 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 1),
        "max_ms": round(ordered[-1], 1),
    }
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), float(sys.argv[2])))
