"""The page of what phones and social accounts got, with buttons to reply by SMS."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from html import escape

from aiohttp import web

from demo.ledger import Entry, Ledger, Provider
from demo.pages import moment, page

SHOWN_MAX = 100
NUMBERS_SHOWN_MAX = 20


def home(ledger: Ledger, stopped: Collection[str], *, is_broken: bool) -> web.Response:
    """Return the page, newest first."""
    sections = "".join(
        section_html(title, ledger.newest_first(provider), draw, empty)
        for title, provider, draw, empty in SECTIONS
    )
    broken = " Some of them are broken on purpose." if is_broken else ""
    return page(
        "Phones and social accounts (demo)",
        f'<p class="quiet">Nothing here left this machine.{broken} '
        f'<a href="/">Look again</a> · <a href="/ledger.json">As JSON</a></p>'
        f"{replies_html(ledger.newest_first(Provider.SMS), stopped)}{sections}",
    )


def replies_html(messages: Sequence[Entry], stopped: Collection[str]) -> str:
    """Return buttons for the numbers that a message went to last."""
    last: dict[str, Entry] = {}
    for entry in messages:
        last.setdefault(entry.to, entry)
    shown = list(last.values())[:NUMBERS_SHOWN_MAX]
    drawn = "".join(reply_html(entry, is_stopped=entry.to in stopped) for entry in shown)
    return f"<section><h2>Reply by text message</h2>{drawn}</section>" if drawn else ""


def reply_html(entry: Entry, *, is_stopped: bool) -> str:
    """Return one number with its buttons; whoever said STOP may start again."""
    words = ("START", "OK") if is_stopped else ("STOP", "OK")
    buttons = "".join(f'<button name="body" value="{word}">Reply {word}</button>' for word in words)
    about = ", has said STOP" if is_stopped else ""
    return (
        f'<form class="card" method="post" action="/inbound"><p>{escape(entry.to)}{about}</p>'
        f'<input type="hidden" name="from" value="{escape(entry.to)}">'
        f'<input type="hidden" name="to" value="{escape(entry.sender)}">{buttons}</form>'
    )


def section_html(
    title: str, entries: Sequence[Entry], draw: Callable[[Entry], str], empty: str
) -> str:
    """Return one provider's part of the page, newest first."""
    drawn = "".join(draw(entry) for entry in entries[:SHOWN_MAX])
    more = f'<p class="quiet">… and {len(entries) - SHOWN_MAX} older ones</p>'
    return (
        f"<section><h2>{title} <span class='quiet'>{len(entries)}</span></h2>"
        f"{drawn or f'<p class=quiet>{empty}</p>'}"
        f"{more if len(entries) > SHOWN_MAX else ''}</section>"
    )


def sms_html(entry: Entry) -> str:
    """Draw a text message."""
    return card_html(entry, f"to {escape(entry.to)}, {escape(entry.status)}", "card bubble")


def call_html(entry: Entry) -> str:
    """Draw a call with what was said."""
    said = "\n".join(entry.said) or "(nothing was said)"
    pressed = f", pressed {escape(entry.pressed)}" if entry.pressed else ""
    about = f"called {escape(entry.to)}, {escape(entry.status)}{pressed}"
    return card_html(replace(entry, body=said), about, "card")


def post_html(entry: Entry) -> str:
    """Draw a post; a reply or a comment is set in."""
    about = {"edited": "edited since"}.get(entry.status, "")
    if entry.in_reply_to:
        about = f"in reply to …{escape(entry.in_reply_to[-6:])}"
    return card_html(entry, about, "card reply" if entry.in_reply_to else "card")


def card_html(entry: Entry, about: str, css: str) -> str:
    """Draw one entry as a card."""
    link = f"<p>{escape(entry.link)}</p>" if entry.link else ""
    apart = f" · {about}" if about else ""
    return (
        f'<article class="{css}"><p class="quiet">{moment(entry.at)}{apart}</p>'
        f'<p class="said">{escape(entry.body)}</p>{link}</article>'
    )


SECTIONS: tuple[tuple[str, Provider, Callable[[Entry], str], str], ...] = (
    ("Text messages", Provider.SMS, sms_html, "No text message yet."),
    ("Calls", Provider.VOICE, call_html, "No call yet."),
    ("X", Provider.X, post_html, "Nothing posted yet."),
    ("Facebook page", Provider.FACEBOOK, post_html, "Nothing posted yet."),
)
