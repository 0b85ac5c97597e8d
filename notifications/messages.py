"""What we say: facts become a Notice, and texts are measured as the channels measure them."""

import gettext
import re
import unicodedata
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from zoneinfo import ZoneInfo

from incidents.facts import ComponentChange, IncidentFact, PageFact, UpdateFact
from incidents.lifecycle import OPEN, CallReason, ComponentStatus, Status

# What a lock screen shows of a subject or a notification (look.md, "Email"; style.md, "Templates and pages").
SUBJECT_CHARS_MAX = 90
SHORT_CHARS_MAX = 140
LOCALE = Path(__file__).resolve().parent.parent / "locale"


def N_(text: str) -> str:  # noqa: N802  # gettext's own name
    """Mark a sentence for the catalogues of locale/; say() translates it."""
    return text


@dataclass(frozen=True, slots=True)
class Notice:
    """What is said, once per broadcast and language; a channel renders it into its own form.

    `headline` is state and thing; `subject` the same with the first thing to do, `title` the incident's name;
    `what_to_do`, `next_update_by` and `url` may be empty. `thread` is the same for everything about one incident ("" for
    letters and calls), `sequence` counts its updates from 1. `final` marks the all-clear. `short` is the text cut for a
    lock screen (see short_text). `published_at` carries the page's zone.
    """

    kind: str  # update | call | letter
    thread: str
    sequence: int
    subject: str
    title: str
    state: str  # a sentence in the reader's language
    body: str
    what_to_do: str
    next_update_by: str
    url: str
    language: str
    sender: str  # the page's name
    short: str
    published_at: datetime
    status: str = ""
    final: bool = False
    critical: bool = False
    automatic: bool = False
    text_override: str = ""  # X: an operator's own words for the post
    headline: str = ""
    confirms: bool = False  # a letter that asks whether its receiver wants this; `url` confirms
    machine: str = ""  # an update as JSON in Statuspage's words, for programs
    discreet: bool = False  # nothing of it may be read on a lock screen


class LetterKind(StrEnum):
    """What we write to one person."""

    CONFIRM = "confirm"
    MANAGE = "manage"
    TEST = "test"


def update_notice(
    page: PageFact,
    incident: IncidentFact,
    update: UpdateFact,
    *,
    language: str,
    url: str,
    time_zone: str = "",
) -> Notice:
    """Return what `update` says; times are in `time_zone`, or the page's."""
    zone = ZoneInfo(time_zone or page.time_zone)
    published_at = (update.published_at or update.display_at).astimezone(zone)
    headline = _headline(incident, update, language)
    what_to_do = clean_block(update.what_to_do)
    promise = update.next_update_by
    return with_short(
        Notice(
            kind="update",
            thread=incident.uid,
            sequence=update.number,
            subject=_subject(headline, what_to_do, language),
            headline=headline,
            title=clean_line(incident.name),
            state=_state(incident, update, published_at, language),
            body=clean_block(update.body),
            what_to_do=what_to_do,
            next_update_by=clock_time(promise, zone, on=published_at, language=language)
            if promise
            else "",
            url=url,
            language=language,
            sender=clean_line(page.name),
            short="",
            published_at=published_at,
            status=update.status,
            final=update.status in (Status.RESOLVED, Status.COMPLETED),
            critical=incident.is_critical,
            automatic=update.automatic,
            text_override=clean_line(update.custom_tweet),
        )
    )


def call_notice(
    page: PageFact,
    *,
    reason: CallReason,
    about: str,
    called_at: datetime,
    language: str,
    url: str,
    detail: str = "",
    due_at: datetime | None = None,
    critical: bool = True,
) -> Notice:
    """Return what operators are told: `about` names the thing, `due_at` is when something happens by itself."""
    zone = ZoneInfo(page.time_zone)
    local = called_at.astimezone(zone)
    due = clock_time(due_at, zone, on=local, language=language) if due_at else ""
    words = (
        _CALLS[reason] if due or reason not in _CALLS_WITHOUT_TIME else _CALLS_WITHOUT_TIME[reason]
    )
    headline = say(language, words.headline, about=clean_line(about), due=due.split(" (")[0])
    what_to_do = say(language, words.what_to_do, due=due)
    return _aside(
        page,
        "call",
        headline=headline,
        state=say(language, words.state, due=due),
        body=clean_block(detail),
        what_to_do=what_to_do,
        url=url,
        language=language,
        written_at=local,
        critical=critical,
    )


def letter_notice(
    page: PageFact,
    *,
    kind: LetterKind,
    written_at: datetime,
    language: str,
    link: str = "",
    code: str = "",
) -> Notice:
    """Return what one person is told; `link` is personal, `code` is for channels without links."""
    words = _LETTERS[kind]
    what_to_do = say(language, words.what_to_do)
    if code:
        what_to_do = f"{what_to_do} {say(language, 'Your code is {code}.', code=clean_line(code))}"
    written = _aside(
        page,
        "letter",
        headline=say(language, words.headline, page=clean_line(page.name)),
        state=say(language, words.state, page=clean_line(page.name)),
        body=say(language, words.body, page=clean_line(page.name)),
        what_to_do=what_to_do,
        url=link,
        language=language,
        written_at=written_at.astimezone(ZoneInfo(page.time_zone)),
        critical=False,
    )
    return replace(written, confirms=kind is LetterKind.CONFIRM)


def discreet(notice: Notice) -> Notice:
    """Return the notice so that a lock screen, which shows subject and first line, tells strangers nothing."""
    name = say(notice.language, N_("Service notice"))
    hint = say(
        notice.language,
        N_(
            "This message is about a service that you follow. Open it to read what has happened and what to do."
        ),
    )
    return replace(
        notice,
        subject=name,
        headline=name,
        title=name,
        short=hint,
        state=f"{hint}\n\n{notice.state}",
        discreet=True,
    )


def with_short(notice: Notice) -> Notice:
    return replace(notice, short=short_text(notice, SHORT_CHARS_MAX))


def short_text(notice: Notice, limit: int) -> str:
    """Return what stands under the subject where only `limit` characters are shown: what to do, when we speak next, what is.

    An all-clear tells what is first.
    """
    promise = (
        say(notice.language, "Next update by {time}.", time=notice.next_update_by)
        if notice.next_update_by
        else ""
    )
    what_is = notice.body or notice.state
    parts = [what_is, notice.what_to_do] if notice.final else [notice.what_to_do, promise, what_is]
    return cut(clean_line(" ".join(part for part in parts if part)), limit)


def say(language: str, text: str, **values: str) -> str:
    """Return `text` in `language`, with `values` put in; English where the catalogue of locale/ has no word."""
    return _catalogue(language).gettext(text).format(**values)


@lru_cache(maxsize=32)
def _catalogue(language: str) -> gettext.NullTranslations:
    return gettext.translation(
        "django", LOCALE, [language.replace("-", "_"), language.split("-")[0]], fallback=True
    )


def direction(language: str) -> str:
    """Return how a language is written, as HTML says it."""
    return "rtl" if language.split("-")[0] in ("ar", "fa", "he", "ur") else "ltr"


@dataclass(frozen=True, slots=True)
class _Words:
    headline: str
    state: str
    what_to_do: str
    body: str = ""


_HEADLINES = {
    Status.INVESTIGATING: N_("Still investigating: {name}"),
    Status.IDENTIFIED: N_("Cause found: {name}"),
    Status.MONITORING: N_("Recovering: {name}"),
    Status.RESOLVED: N_("Resolved: {name}"),
    Status.POSTMORTEM: N_("What happened: {name}"),
    Status.SCHEDULED: N_("Planned maintenance: {name}"),
    Status.IN_PROGRESS: N_("Maintenance has begun: {name}"),
    Status.VERIFYING: N_("Maintenance is being checked: {name}"),
    Status.COMPLETED: N_("Maintenance is finished: {name}"),
}
_STATES = {
    Status.INVESTIGATING: N_("We are investigating."),
    Status.IDENTIFIED: N_("We have found the cause and are working on it."),
    Status.MONITORING: N_("It is recovering and we are watching it."),
    Status.RESOLVED: N_("This is resolved."),
    Status.POSTMORTEM: N_("We have written down what happened and what we change."),
    Status.SCHEDULED: N_("Work is planned."),
    Status.IN_PROGRESS: N_("The work is under way."),
    Status.VERIFYING: N_("The work is done and we are checking it."),
    Status.COMPLETED: N_("The work is finished."),
}
# Worst first: what does not work is read before what does.
_COMPONENTS = {
    ComponentStatus.MAJOR_OUTAGE: N_("Not working: {names}."),
    ComponentStatus.PARTIAL_OUTAGE: N_("Partly working: {names}."),
    ComponentStatus.DEGRADED_PERFORMANCE: N_("Slow: {names}."),
    ComponentStatus.UNDER_MAINTENANCE: N_("In maintenance: {names}."),
    ComponentStatus.OPERATIONAL: N_("Working: {names}."),
}
_CALLS = {
    CallReason.DRAFT_WAITS: _Words(
        N_("Goes out at {due}: {about}"),
        N_("A draft goes out by itself at {due}."),
        N_("Publish, edit or veto it now."),
    ),
    CallReason.BLIND: _Words(
        N_("We cannot see: {about}"),
        N_("Checks no longer arrive; the page says unknown."),
        N_("Find out why the probes are silent. Look at the service by other means."),
    ),
    CallReason.PROMISE_DUE: _Words(
        N_("Update due at {due}: {about}"),
        N_("We promised an update by {due}."),
        N_("Publish an update, even if nothing is new."),
    ),
    CallReason.VERDICT: _Words(
        N_("Checks fail: {about}"),
        N_("The checks have reached a verdict. Nothing was published."),
        N_("Look at the desk and decide whether to declare an incident."),
    ),
    CallReason.PROBER_FAULT: _Words(
        N_("A prober is at fault: {about}"),
        N_("The fault is ours and not the service's."),
        N_("Mend the prober. Until then it does not count."),
    ),
    CallReason.PROBLEM: _Words(
        N_("Status system: {about}"),
        N_("Something in the status system needs a person."),
        N_("Look at the desk."),
    ),
}
_CALLS_WITHOUT_TIME = {
    CallReason.DRAFT_WAITS: _Words(
        N_("Waits for you: {about}"),
        N_("A draft waits. It does not go out by itself."),
        N_("Publish, edit or veto it."),
    ),
    CallReason.PROMISE_DUE: _Words(
        N_("Update due: {about}"),
        N_("We promised an update."),
        N_("Publish an update, even if nothing is new."),
    ),
}
_LETTERS = {
    LetterKind.CONFIRM: _Words(
        N_("Confirm: updates from {page}"),
        N_("Somebody, we hope you, asked for updates from {page} at this address."),
        N_("Open the link and press Confirm."),
        N_("If it was not you, do nothing: without a confirmation nothing more is sent."),
    ),
    LetterKind.MANAGE: _Words(
        N_("Your settings at {page}"),
        N_("Somebody, we hope you, asked for the link to the settings of this address."),
        N_("Open the link to change or end what you get."),
        N_("The link is yours alone: do not pass it on. If you did not ask for it, do nothing."),
    ),
    LetterKind.TEST: _Words(
        N_("Test: {page} reaches you"),
        N_("This is a test. Nothing is wrong."),
        N_("There is nothing to do."),
        N_("Messages from {page} would reach you like this one."),
    ),
}
WORKS = ComponentStatus.OPERATIONAL
# Said within f-strings, where xgettext does not look.
_SAID_ELSEWHERE = (
    N_("automatic"),
    N_("Settings"),
    N_("What to do now"),
    N_("Your code is {code}."),
)
# Verbs with which a sentence may go on after a colon in lower case; a name at its start must keep its capital.
_IMPERATIVES = frozenset(
    [
        "Ask",
        "Call",
        "Check",
        "Confirm",
        "Do",
        "Keep",
        "Look",
        "Open",
        "Publish",
        "Stay",
        "Test",
        "Try",
        "Use",
        "Wait",
    ]
)


def _headline(incident: IncidentFact, update: UpdateFact, language: str) -> str:
    name = clean_line(incident.name)
    if update.retraction:
        words = N_("Called off: {name}") if incident.is_maintenance else N_("False alarm: {name}")
        return say(language, words, name=name)
    if update.status in OPEN and _follows_the_end(incident, update):
        return say(language, "Again: {name}", name=name)
    if update.number == 1 and update.status in (Status.INVESTIGATING, Status.IDENTIFIED):
        return name
    return say(language, _HEADLINES[update.status], name=name)


def _follows_the_end(incident: IncidentFact, update: UpdateFact) -> bool:
    earlier = [other for other in incident.updates if other.number < update.number]
    return bool(earlier) and max(earlier, key=lambda other: other.number).status == Status.RESOLVED


def _subject(headline: str, what_to_do: str, language: str) -> str:
    first = sentences(what_to_do)[:1]
    if not first:
        return cut(headline, SUBJECT_CHARS_MAX)
    action = first[0].rstrip(".")
    is_led_on = ": " not in headline
    if is_led_on and language.startswith("en") and action.split(" ")[0] in _IMPERATIVES:
        action = action[0].lower() + action[1:]
    whole = f"{headline}: {action}" if is_led_on else f"{headline}. {action}"
    return whole if len(whole) <= SUBJECT_CHARS_MAX else cut(headline, SUBJECT_CHARS_MAX)


def _state(
    incident: IncidentFact, update: UpdateFact, published_at: datetime, language: str
) -> str:
    if update.retraction:
        is_planned = incident.is_maintenance
        return say(
            language,
            N_("This maintenance is called off.") if is_planned else N_("This was a false alarm."),
        )
    sentence = say(language, _STATES[update.status])
    window = _window(incident, update, published_at, language)
    return " ".join(
        part for part in (_components(incident, update, language), sentence, window) if part
    )


def _components(incident: IncidentFact, update: UpdateFact, language: str) -> str:
    by_status: dict[ComponentStatus, list[str]] = {}
    for name, status in _said_of_components(incident, update.changes):
        by_status.setdefault(status, []).append(clean_line(name))
    texts = (
        say(language, text, names=", ".join(by_status.get(status, ())))
        for status, text in _COMPONENTS.items()
    )
    return " ".join(
        text for text, status in zip(texts, _COMPONENTS, strict=True) if status in by_status
    )


def _said_of_components(
    incident: IncidentFact, changes: tuple[ComponentChange, ...]
) -> list[tuple[str, ComponentStatus]]:
    """Return what the update says of each; of one that works here and not on the page, for another reason, nothing."""
    if changes:
        ill = {one.uid for one in incident.components if one.is_unknown or one.status != WORKS}
        rows = [(each.uid, each.name, each.new) for each in changes]
        return [(name, new) for uid, name, new in rows if new != WORKS or uid not in ill]
    names = {component.uid: component.name for component in incident.components}
    return [(names[uid], status) for uid, status in incident.component_statuses if uid in names]


def _window(
    incident: IncidentFact, update: UpdateFact, published_at: datetime, language: str
) -> str:
    start, end = incident.scheduled_for, incident.scheduled_until
    zone = published_at.tzinfo
    if start is None or end is None or not isinstance(zone, ZoneInfo):
        return ""
    if update.status == Status.SCHEDULED:
        times = {
            "start": clock_time(start, zone, on=published_at, language=language),
            "end": clock_time(end, zone, on=published_at, language=language),
        }
        return say(language, "From {start} to {end}.", **times)
    if update.status == Status.IN_PROGRESS:
        return say(
            language, "Until {end}.", end=clock_time(end, zone, on=published_at, language=language)
        )
    return ""


def _aside(
    page: PageFact,
    kind: str,
    *,
    headline: str,
    state: str,
    body: str,
    what_to_do: str,
    url: str,
    language: str,
    written_at: datetime,
    critical: bool,
) -> Notice:
    """Return a notice that belongs to no incident's thread."""
    return with_short(
        Notice(
            kind=kind,
            thread="",
            sequence=1,
            subject=cut(headline, SUBJECT_CHARS_MAX),
            headline=headline,
            title=headline,
            state=state,
            body=body,
            what_to_do=what_to_do,
            next_update_by="",
            url=url,
            language=language,
            sender=clean_line(page.name),
            short="",
            published_at=written_at,
            critical=critical,
        )
    )


def clock_time(moment: datetime, zone: ZoneInfo, *, on: datetime, language: str = "en") -> str:
    """Return `moment` as people read it, "02:30 EST (07:30 UTC)"; with its day when that is not the day of `on`."""
    local = moment.astimezone(zone)
    told = f"{local:%H:%M} {zone_name(local)}"
    if local.date() != on.astimezone(zone).date():
        weekday, month = (
            say(language, _WEEKDAYS[local.weekday()]),
            say(language, _MONTHS[local.month - 1]),
        )
        told = f"{weekday} {local.day} {month}, {told}"
    if local.utcoffset():
        told += f" ({moment.astimezone(ZoneInfo('UTC')):%H:%M} UTC)"
    return told


_WEEKDAYS = (N_("Mon"), N_("Tue"), N_("Wed"), N_("Thu"), N_("Fri"), N_("Sat"), N_("Sun"))
_MONTHS = (
    *(N_("Jan"), N_("Feb"), N_("Mar"), N_("Apr"), N_("May"), N_("Jun")),
    *(N_("Jul"), N_("Aug"), N_("Sep"), N_("Oct"), N_("Nov"), N_("Dec")),
)


def zone_name(local: datetime) -> str:
    """Return the zone's letters; many zones have none, and "+0530" alone would not be understood."""
    name = local.tzname() or "UTC"
    return f"UTC{name}" if name[0] in "+-" else name


_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Zero-width joiners hold emoji and several scripts together; every other invisible character is dropped.
_JOINERS = "\u200c\u200d"


def clean_line(text: str) -> str:
    """Return `text` on one line without control characters: fit for a header, a subject, a text message."""
    return " ".join("".join(char if _is_visible(char) else " " for char in text).split())


def clean_block(text: str) -> str:
    """Return `text` with its line breaks but without any other control character."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    block = "\n".join(clean_line(line) for line in lines).strip()
    return re.sub(r"\n{3,}", "\n\n", block)


def _is_visible(char: str) -> bool:
    return char in _JOINERS or (unicodedata.category(char)[0] != "C" and char not in _BIDI_CONTROLS)


def cut(text: str, limit: int) -> str:
    """Return `text` in at most `limit` characters, cut between words."""
    if len(text) <= limit:
        return text
    head = text[: limit - 1]
    at_word = head.rsplit(" ", 1)[0] if " " in head else head
    return f"{at_word.rstrip(' ,;:.-')}…"


def sentences(text: str) -> list[str]:
    """Return the sentences of `text`, each with its stop."""
    found = re.split(r"(?<=[.!?])\s+|\n+", text.strip())
    return [clean_line(sentence) for sentence in found if sentence.strip()]


# GSM 03.38: the basic table, and the extension table whose characters cost two.
_GSM_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
_GSM_EXTENDED = frozenset("\f^{}\\[~]|€")
_TYPOGRAPHY = str.maketrans(
    {
        **dict.fromkeys("‘’‚‛′´`", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2007\u2009\u200a\u202f\t", " "),
        **dict.fromkeys("•·", "-"),
        "…": "...",
        "×": "x",
        "→": "->",
        "≤": "<=",
        "≥": ">=",
        "\u200b": "",
        "\u00ad": "",
    }
)
# Characters in a message that stands alone, and in each part of a longer one: https://www.twilio.com/docs/glossary/what-sms-character-limit
_SEGMENT = {"GSM-7": (160, 153), "UCS-2": (70, 67)}


def gsm7(text: str) -> str:
    """Return `text` with typographic characters made plain: one curly apostrophe would more than halve what fits.

    Letters are left as they are; `gsm7_misfits` names those that make the message UCS-2.
    """
    return unicodedata.normalize("NFC", text).translate(_TYPOGRAPHY)


def gsm7_misfits(text: str) -> tuple[str, ...]:
    """Return the characters of `text` that GSM-7 does not have, each once."""
    return tuple(
        dict.fromkeys(char for char in text if char not in _GSM_BASIC and char not in _GSM_EXTENDED)
    )


def sms_segments(text: str) -> tuple[str, int]:
    """Return the encoding a text message needs, and into how many parts it is split."""
    if gsm7_misfits(text):
        encoding, units = "UCS-2", [2 if ord(char) > 0xFFFF else 1 for char in text]
    else:
        encoding, units = "GSM-7", [2 if char in _GSM_EXTENDED else 1 for char in text]
    alone, part = _SEGMENT[encoding]
    return encoding, 1 if sum(units) <= alone else _parts(units, part)


def _parts(units: list[int], room: int) -> int:
    """Count parts of `room` units; a character of two is never torn apart."""
    parts, used = 1, 0
    for unit in units:
        if used + unit > room:
            parts, used = parts + 1, 0
        used += unit
    return parts


# X counts by these rules: https://docs.x.com/fundamentals/counting-characters (every link 23, most Latin 1, the rest 2).
LINK_WEIGHT = 23
_LIGHT = ((0, 4351), (8192, 8205), (8208, 8223), (8242, 8247))
_LINK = re.compile(r"https?://[^\s]*[^\s.,;:!?)\]}'\"]")
# A name with dots is made a link too; it then weighs 23, or what it is long, if that is more.
_BARE_LINK = re.compile(r"\b[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\b(?:/[^\s]*)?", re.IGNORECASE)
_PICTURE = "[\u203c-\u3299\U0001f000-\U0001faff]"
_MODIFIED = f"{_PICTURE}(?:\ufe0f|[\U0001f3fb-\U0001f3ff])?"
_EMOJI = re.compile(
    f"[\U0001f1e6-\U0001f1ff]{{2}}|[0-9#*]\ufe0f?\u20e3|{_MODIFIED}(?:\u200d{_MODIFIED})+|"
    f"{_PICTURE}(?:\ufe0f|[\U0001f3fb-\U0001f3ff])"
)


def weighted_length(text: str) -> int:
    """Return how many of its 280 characters X counts for `text`."""
    text = unicodedata.normalize("NFC", text)
    weight = len(_LINK.findall(text)) * LINK_WEIGHT
    text = _LINK.sub("", text)
    weight += sum(max(LINK_WEIGHT, len(link)) for link in _BARE_LINK.findall(text))
    text = _BARE_LINK.sub("", text)
    weight += len(_EMOJI.findall(text)) * 2
    return weight + sum(_weight(ord(char)) for char in _EMOJI.sub("", text))


def _weight(point: int) -> int:
    return 1 if any(low <= point <= high for low, high in _LIGHT) else 2
