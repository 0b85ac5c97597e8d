"""A mail's bytes held against RFC 5322, 2045, 2369 and 8058, read here by hand: no library that also wrote them."""

import re
from datetime import datetime, timedelta

LINE_MAX, LINE_ADVISED = 998, 78  # RFC 5322 §2.1.1, without CRLF
_FIELD = re.compile(
    rb"([\x21-\x39\x3b-\x7e]+):[ \t]*(.*)", re.DOTALL
)  # §2.2: printable but the colon
_ONCE = (
    "date",
    "from",
    "sender",
    "reply-to",
    "to",
    "cc",
    "message-id",
    "in-reply-to",
    "references",
    "subject",
    "mime-version",
    "content-type",
    "list-unsubscribe",
    "list-unsubscribe-post",
)  # §3.6
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_DOT_ATOM = rf"{_ATOM}(?:\.{_ATOM})*"
_ID = re.compile(rf"<{_DOT_ATOM}@{_DOT_ATOM}>")
_ADDR = rf"{_DOT_ATOM}@{_DOT_ATOM}"
_WORD = rf'(?:{_ATOM}|"(?:[^"\\\r\n]|\\.)*"|=\?[^?]+\?[BbQq]\?[^?\s]*\?=)'
_MAILBOX = re.compile(rf"(?:(?:{_WORD}[ \t]*)+<{_ADDR}>|{_ADDR})")
_DATE = re.compile(
    r"(?:(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), )?\d{1,2} (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d [+-]\d{4}"
)


def faults(raw: bytes, *, now: datetime, one_click: bool) -> list[str]:
    """Return what is wrong with a mail, in words; nothing when all is right."""
    found: list[str] = []
    if b"\r" in raw.replace(b"\r\n", b"") or b"\n" in raw.replace(b"\r\n", b""):
        found.append("a CR or LF stands alone (RFC 5322 §2.3)")
    head, separator, body = raw.partition(b"\r\n\r\n")
    if not separator:
        return [*found, "no empty line ends the header"]
    lines = raw.split(b"\r\n")
    if longest := max((len(line) for line in lines), default=0):
        found += [f"a line of {longest} bytes"] if longest > LINE_MAX else []
    if b"\x00" in raw:
        found.append("a NUL byte")
    if not head.isascii():
        found.append("a header that is not ASCII (RFC 5322 §2.2)")
    fields, folded = _fields(head, found)
    for name in _ONCE:
        if len(fields.get(name, [])) > 1:
            found.append(f"{name} stands {len(fields[name])} times")
    found += _required(fields, now)
    found += _mime(fields, body)
    if one_click:
        found += _one_click(fields, folded)
    return found


def _fields(head: bytes, found: list[str]) -> tuple[dict[str, list[str]], set[str]]:
    fields: dict[str, list[str]] = {}
    folded = set()
    name = ""
    for line in head.split(b"\r\n"):
        if line[:1] in (b" ", b"\t"):
            if not name or not line.strip():
                found.append(
                    "a folded line of blanks, or one that continues nothing (§2.2.3, §4.2)"
                )
                continue
            fields[name][-1] += line.decode("latin-1")
            folded.add(name)
            continue
        match = _FIELD.fullmatch(line)
        if match is None:
            found.append(f"a header line that is no field: {line[:40]!r}")
            continue
        name = match.group(1).decode("ascii").lower()
        fields.setdefault(name, []).append(match.group(2).decode("latin-1"))
    return fields, folded


def _required(fields: dict[str, list[str]], now: datetime) -> list[str]:
    found = []
    date = fields.get("date", [""])[0].strip()
    if not _DATE.fullmatch(date):
        found.append(f"date is {date!r} (§3.3)")
    else:
        at = datetime.strptime(date.split(", ")[-1], "%d %b %Y %H:%M:%S %z")
        if abs(now - at) > timedelta(hours=1):
            found.append(f"date is {date!r}, not of now")
    for name in ("from", "to"):
        if not _MAILBOX.fullmatch(fields.get(name, [""])[0].strip()):
            found.append(f"{name} is {fields.get(name)!r} (§3.4)")
    if not _ID.fullmatch(fields.get("message-id", [""])[0].strip()):
        found.append(f"message-id is {fields.get('message-id')!r} (§3.6.4)")
    for name in ("in-reply-to", "references"):
        for text in fields.get(name, []):
            if not all(_ID.fullmatch(one) for one in text.split()):
                found.append(f"{name} is {text!r} (§3.6.4)")
    if not fields.get("subject", [""])[0].strip():
        found.append("no subject")
    if fields.get("auto-submitted", [""])[0].strip() != "auto-generated":
        found.append("not marked as automatic (RFC 3834 §5)")
    return found


def _mime(fields: dict[str, list[str]], body: bytes) -> list[str]:
    """Check multipart/alternative with plain text first, its boundaries and encodings (RFC 2045, 2046)."""
    kind = fields.get("content-type", [""])[0]
    boundary = re.search(r'boundary="?([^";]+)"?', kind)
    if fields.get("mime-version", [""])[0].strip() != "1.0" or "multipart/alternative" not in kind:
        return [f"not MIME 1.0 multipart/alternative: {kind!r}"]
    if boundary is None or len(boundary.group(1)) > 70:
        return ["no boundary, or one over 70 characters (RFC 2046 §5.1.1)"]
    mark = b"--" + boundary.group(1).encode()
    pieces = body.split(mark)
    if len(pieces) != 4 or not pieces[3].startswith(b"--"):
        return [f"{len(pieces) - 2} parts, or no closing boundary"]
    found = []
    for piece, wanted in zip(pieces[1:3], ("text/plain", "text/html"), strict=True):
        head, _, content = piece.lstrip(b"\r\n").partition(b"\r\n\r\n")
        words = head.decode("latin-1").lower()
        if f"content-type: {wanted}" not in words or "charset=" not in words:
            found.append(f"the part is not {wanted} with its charset: {words!r}")
        encoding = re.search(r"content-transfer-encoding:\s*(\S+)", words)
        if not content.isascii() and (encoding is None or encoding.group(1) != "8bit"):
            found.append(f"8-bit content under {encoding and encoding.group(1)} (RFC 2045 §6.2)")
    return found


def _one_click(fields: dict[str, list[str]], folded: set[str]) -> list[str]:
    """Check the two headers of RFC 8058 §3.1; not folded, because some servers then break the signature over them."""
    found = []
    if fields.get("list-unsubscribe-post") != ["List-Unsubscribe=One-Click"]:
        found.append(f"list-unsubscribe-post is {fields.get('list-unsubscribe-post')!r}")
    link = fields.get("list-unsubscribe", [""])[0]
    urls = re.findall(r"<([^<>\s]+)>", link)
    if not urls or not any(url.startswith(("https://", "http://127.0.0.1")) for url in urls):
        found.append(f"list-unsubscribe is {link!r} (RFC 2369 §2, RFC 8058 §3.1)")
    if {"list-unsubscribe", "list-unsubscribe-post"} & folded:
        found.append("a header of RFC 8058 is folded")
    return found
