"""What a mail is made of: built once per notice, each reader's own parts spliced in."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.generator import BytesGenerator
from email.message import Message
from email.utils import format_datetime, formataddr, parseaddr
from functools import cache, lru_cache
from html import escape
from io import BytesIO
from pathlib import Path
from textwrap import wrap

import idna
from django.core.mail import EmailMultiAlternatives
from django.template import Context, Engine

from notifications.channels import Recipient
from notifications.messages import N_, Notice, clean_line, direction, say

TEMPLATES = Path(__file__).resolve().parents[2] / "templates"
# A line of plain text as mail programs show it unbroken.
TEXT_COLUMNS = 76
# Longer words are broken: a line of a mail holds 998 bytes (RFC 5322 §2.1.1), and HTML makes up to six of one character.
WORD_CHARS_MAX = 150
LINK_CHARS_MAX = 900
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}")
_LINK = re.compile(r"https?://[!#-;=?-~]+")  # printable ASCII without quotes and angle brackets


@dataclass(frozen=True, slots=True)
class Foot:
    """The quiet line: links that are personal, or placeholders for them."""

    manage: str = ""
    unsubscribe: str = ""


@dataclass(frozen=True, slots=True)
class Form:
    """A mail as it goes over the wire, dots doubled, cut where readers differ: text, name, text, name, …, text."""

    pieces: tuple[bytes, ...]
    is_ascii: bool

    def filled(self, address: str, message_id: str, recipient: Recipient) -> bytes:
        """Return the mail for one reader. Nothing spliced in can begin a line with a dot, or hold a line break."""
        parts = _parts(address, message_id, recipient)
        whole = list(self.pieces)
        whole[1::2] = [parts[name] for name in whole[1::2]]
        return b"".join(whole)


def form(notice: Notice, sender: str, *, manage: bool, unsubscribe: bool) -> Form:
    # The mark cannot be guessed, so that no text of an update can stand for a reader's link.
    mark = secrets.token_hex(8)
    foot = Foot(f"tm{mark}" if manage else "", f"tu{mark}" if unsubscribe else "")
    html_foot = Foot(f"hm{mark}" if manage else "", f"hu{mark}" if unsubscribe else "")
    text, html = bodies(notice, foot, html_foot)
    mail = EmailMultiAlternatives(
        clean_line(notice.subject),
        text,
        sender_header(notice, sender),
        headers=headers(notice, sender),
    )
    mail.encoding = "utf-8"
    mail.attach_alternative(html, "text/html")
    mail.extra_headers["Date"] = format_datetime(datetime.now(UTC))
    mail.extra_headers["To"] = f"to{mark}"
    mail.extra_headers["Message-ID"] = f"<id{mark}>"
    if unsubscribe:
        mail.extra_headers |= unsubscribe_headers(f"lu{mark}")
    return _on_the_wire(mail, mark)


def _on_the_wire(mail: EmailMultiAlternatives, mark: str) -> Form:
    message = mail.message()
    del message["To"]
    message["To"] = mail.extra_headers["To"]
    wire = _bytes(message)
    if not wire.endswith(b"\r\n"):
        wire += b"\r\n"
    wire = re.sub(rb"(?m)^\.", b"..", wire) + b".\r\n"
    pieces = re.split(b"(to|id|tm|hm|tu|hu|lu)" + mark.encode(), wire)
    return Form(tuple(pieces), wire.isascii())


def _bytes(message: Message) -> bytes:
    wire = BytesIO()
    BytesGenerator(wire, mangle_from_=False).flatten(message, linesep="\r\n")
    return wire.getvalue()


def _parts(address: str, message_id: str, recipient: Recipient) -> dict[bytes, bytes]:
    manage, unsubscribe = recipient.manage_url, recipient.unsubscribe_url
    link = unsubscribe.encode("ascii")
    return {
        b"to": address.encode("ascii"),
        b"id": message_id.encode("ascii"),
        b"tm": manage.encode("ascii"),
        b"hm": escape(manage).encode("ascii"),
        b"tu": link,
        b"hu": escape(unsubscribe).encode("ascii"),
        b"lu": link,
    }


def headers(notice: Notice, sender: str) -> dict[str, str]:
    """Return what is the same for every reader. Threads hang on a root that was never sent: providers rewrite ids."""
    found = {"Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All"}
    if notice.thread:
        root = f"<inc-{_token(notice.thread)}@{host(sender)}>"
        found |= {"In-Reply-To": root, "References": root}
    return found


def unsubscribe_headers(link: str) -> dict[str, str]:
    return {
        "List-Unsubscribe": f"<{link}>",
        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
    }


def message_id(notice: Notice, delivery: str, sender: str) -> str:
    """Return the id without its brackets: the same whenever this delivery is sent again."""
    what = (
        f"inc-{_thread_token(notice.thread)}.u{notice.sequence}" if notice.thread else notice.kind
    )
    return f"{what}.{_token(delivery)}@{host(sender)}"


def sender_header(notice: Notice, sender: str) -> str:
    name, address = parseaddr(sender)
    return formataddr((clean_line(name or notice.sender), address), "utf-8")


@lru_cache(maxsize=16)
def host(sender: str) -> str:
    return parseaddr(sender)[1].rpartition("@")[2]


def clean_address(address: str) -> str:
    """Return `address` as it goes into an envelope. Raises ValueError for what is none."""
    local, _, domain = address.rpartition("@")
    # Not Django's punycode: it turns ß into ss, which is another domain.
    ascii_domain = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    found = f"{local}@{ascii_domain}"
    if not _ADDRESS.fullmatch(found):
        raise ValueError("not an e-mail address that mail servers take")
    return found


def check_links(recipient: Recipient) -> None:
    """Raise ValueError unless both links fit into a header on one line."""
    for link in (recipient.manage_url, recipient.unsubscribe_url):
        if link and (len(link) > LINK_CHARS_MAX or not _LINK.fullmatch(link)):
            raise ValueError("a link of this delivery is no address of a page")


def bodies(notice: Notice, foot: Foot, html_foot: Foot) -> tuple[str, str]:
    """Return the mail as text and as HTML: state, what to do, next update, details, link."""
    words = _words(notice)
    text = {
        **words,
        "state": _wrapped(notice.state),
        "what_to_do": _wrapped(notice.what_to_do),
        "body": _wrapped(notice.body),
        "manage": foot.manage,
        "unsubscribe": foot.unsubscribe,
    }
    html = {
        **words,
        "state": _wrapped(notice.state),
        "what_to_do_html": _paragraphs(notice.what_to_do),
        "body_html": _paragraphs(notice.body),
        "manage_html": html_foot.manage,
        "unsubscribe_html": html_foot.unsubscribe,
    }
    return _render("email.txt", text), _render("email.html", html)


def _words(notice: Notice) -> dict[str, str]:
    language, time = notice.language, notice.next_update_by
    link = N_("Read more") if notice.kind == "update" else N_("Open")
    signature = N_("Posted automatically, {sender}") if notice.automatic else "{sender}"
    return {
        "language": language,
        "direction": direction(language),
        "subject": notice.subject,
        "headline": notice.headline or notice.subject,
        "url": notice.url,
        "next_update": say(language, "Next update by {time}.", time=time) if time else "",
        "signature": say(language, signature, sender=notice.sender),
        "why": _why(notice),
        "label_what_to_do": say(language, "What to do now"),
        "label_link": say(language, link),
        "label_manage": say(language, "Change what you get"),
        "label_unsubscribe": say(language, "Unsubscribe"),
    }


def _why(notice: Notice) -> str:
    why = {
        "update": N_("You get this because you subscribed to {sender}."),
        "call": N_("You get this because you are an operator of {sender}."),
    }
    return say(
        notice.language, why.get(notice.kind, N_("Sent once, by {sender}.")), sender=notice.sender
    )


def _wrapped(text: str) -> str:
    return "\n".join("\n".join(_lines(line)) for line in text.split("\n"))


def _paragraphs(text: str) -> list[list[str]]:
    blocks = re.split(r"\n\s*\n", text.strip()) if text.strip() else []
    return [["\n".join(_lines(line)) for line in block.split("\n")] for block in blocks]


def _lines(line: str) -> list[str]:
    line = re.sub(rf"\S{{{WORD_CHARS_MAX}}}(?=\S)", r"\g<0> ", line)
    return wrap(line, TEXT_COLUMNS, break_long_words=False, break_on_hyphens=False) or [""]


def _render(name: str, values: Mapping[str, object]) -> str:
    rendered = _engine().get_template(f"notifications/{name}").render(Context(dict(values)))
    if name.endswith(".html"):
        # Indentation is for us, and every byte goes out as often as there are readers.
        return re.sub(r"\s*\n\s*", "\n", rendered).strip() + "\n"
    # What the template's tags leave behind.
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", rendered)).strip() + "\n"


@cache
def _engine() -> Engine:
    return Engine(dirs=[str(TEMPLATES)])


@lru_cache(maxsize=64)
def _thread_token(text: str) -> str:
    return _token(text)


def _token(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "", text)
