"""The page of the Follow service: what is broken, and the buttons that break and mend it."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape

from aiohttp import web

from demo.accounts import ACCOUNTS, Accounts
from demo.alerts import Alerts
from demo.faults import Board, FaultRefused, Strike
from demo.pages import is_foreign_form, moment, page, refusal, utc_now
from demo.shapes import MENU, NIGHT, SHAPES_IN_WORDS, TARGETS_IN_WORDS

ALERTS_SHOWN_MAX = 10


class Switch:
    """The page with the switches."""

    def __init__(self, board: Board, accounts: Accounts, alerts: Alerts) -> None:
        self.board = board
        self.accounts = accounts
        self.alerts = alerts

    def routes(self) -> list[web.AbstractRouteDef]:
        """Return the page and what its buttons post to."""
        return [web.get("/", self._home), web.post("/switch", self._switch)]

    async def _home(self, request: web.Request) -> web.Response:
        return page("Follow service (demo)", self._home_html())

    def _home_html(self) -> str:
        board = self.board
        broken = [
            f"<li>■ {TARGETS_IN_WORDS[target]} {escape(SHAPES_IN_WORDS[strike.shape])} "
            f'<span class="quiet">({strike.shape}, since {moment(strike.since)})</span></li>'
            for target in MENU.shapes
            if (strike := board.fault_of(target))
        ]
        state = (
            f'<ul class="plain state bad">{"".join(broken)}</ul>'
            if broken
            else '<p class="state good">● Everything works.</p>'
        )
        return (
            '<p class="quiet">A synthetic sensor service, for trying out. Nobody is harmed.</p>'
            + state
            + self._buttons_html()
            + self._figures_html()
        )

    def _buttons_html(self) -> str:
        selects = "".join(self._select_html(target) for target in MENU.shapes)
        return (
            '<form method="post" action="/switch">'
            '<button class="main" name="press" value="night">Break it as on 30 November</button>'
            '<button name="press" value="mend">Mend everything</button></form>'
            '<h2>Break one thing</h2><form method="post" action="/switch">'
            f'{selects}<button name="press" value="apply">Apply</button></form>'
        )

    def _select_html(self, target: str) -> str:
        standing = self.board.fault_of(target)
        options = "".join(
            f'<option value="{shape}"{_selected(standing, shape)}>'
            f"{escape(SHAPES_IN_WORDS[shape])} ({shape})</option>"
            for shape in MENU.shapes[target]
        )
        return (
            f'<label for="{target}">{TARGETS_IN_WORDS[target]}</label>'
            f'<select id="{target}" name="{target}"><option value="">works</option>'
            f"{options}</select>"
        )

    def _figures_html(self) -> str:
        board = self.board
        rows = {
            "Last broken": moment(board.fault_at) if board.fault_at else "never",
            "Last mended": moment(board.mended_at) if board.mended_at else "not yet",
            "Requests": ", ".join(f"{name} {n}" for name, n in sorted(board.requests.items())),
            "Broken answers": str(sum(board.struck.values())),
            "Accounts": escape(", ".join(account.name for account in ACCOUNTS)),
            "Password": escape(self.accounts.password),
        }
        figures = "".join(f"<dt>{name}</dt><dd>{value or '0'}</dd>" for name, value in rows.items())
        alerts = "".join(
            f"<li>{escape(str(alert['kind']))} for {escape(str(alert['user']))}: "
            f"{escape(str(alert['outcome']))}</li>"
            for alert in list(self.alerts.sent)[:ALERTS_SHOWN_MAX]
        )
        return (
            f'<h2>So far</h2><dl>{figures}</dl><p><a href="/">Look again</a> · '
            f'<a href="/faults">As JSON</a></p>'
            + (f'<h2>Alerts sent</h2><ul class="plain">{alerts}</ul>' if alerts else "")
        )

    async def _switch(self, request: web.Request) -> web.Response:
        if is_foreign_form(request):
            return refusal("The switches work from this page only.", 403)
        form = await request.post()
        chosen: Mapping[str, object]
        match form.get("press"):
            case "mend":
                chosen = {}
            case "night":
                chosen = NIGHT
            case _:
                chosen = {target: form[target] for target in MENU.shapes if form.get(target)}
        try:
            self.board.put(dict(chosen), utc_now())
        except FaultRefused as refused:
            return refusal(str(refused))
        return web.Response(status=303, headers={"Location": "/"})


def _selected(standing: Strike | None, shape: str) -> str:
    return " selected" if standing and standing.shape == shape else ""
