"""How any provider breaks: the switch in front of what sends, and the broken answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from demo.faults import Board, Fault, Menu, NumberOption
from demo.ledger import Provider
from demo.pages import Handler, abort, utc_now

RETRY_AFTER_S = 30
SLOW_S = 5.0

SHAPES = ("429", "500", "slow", "accept-then-drop", "drop", "html", "nonsense", "bad-json")
MENU = Menu(
    # Only X sells credits that can be used up.
    shapes={
        provider.value: (*SHAPES, "402") if provider is Provider.X else SHAPES
        for provider in Provider
    },
    options={"retry_after_s": NumberOption(0, 86_400), "delay_s": NumberOption(0, 120)},
)


@dataclass(frozen=True, slots=True)
class Excuses:
    """How one provider says in its own form that it took nothing: 429, and other shapes by name."""

    too_many: Callable[[int], web.Response]
    others: Mapping[str, Callable[[], web.Response]]


def guarded(board: Board, provider: Provider, excuses: Excuses, handler: Handler) -> Handler:
    """Return `handler` behind the switch of its provider. Only what sends is broken."""

    async def answer(request: web.Request) -> web.Response:
        board.requests[provider.value] += 1
        strike = board.strike(provider.value, utc_now())
        if strike is None:
            return await handler(request)
        if strike.shape == "accept-then-drop":
            await handler(request)
            return abort(request)
        if strike.shape == "slow":
            await asyncio.sleep(strike.fault.number("delay_s", SLOW_S))
            return await handler(request)
        return broken_answer(excuses, strike.fault, request)

    return answer


def broken_answer(excuses: Excuses, fault: Fault, request: web.Request) -> web.Response:
    """Return the answer of a provider that accepted nothing."""
    if fault.shape in excuses.others:
        return excuses.others[fault.shape]()
    match fault.shape:
        case "429":
            return excuses.too_many(int(fault.number("retry_after_s", RETRY_AFTER_S)))
        case "html":
            text = "<html><body><h1>502 Bad Gateway</h1></body></html>"
            return web.Response(text=text, content_type="text/html", status=502)
        case "nonsense":
            return web.json_response({"ok": True})
        case "bad-json":
            return web.Response(text='{"id": ', content_type="application/json")
        case _:
            return abort(request)
