"""What a broadcast says: its entry as a Notice in one language."""

import json
from dataclasses import replace
from datetime import datetime
from functools import lru_cache

from django.conf import settings
from django.db.models import Min

from incidents import reads, wire
from incidents.facts import IncidentFact, PageFact, UpdateFact
from incidents.lifecycle import FINAL, CallReason
from incidents.models import Call, Component, Incident
from notifications import messages
from notifications.messages import Notice
from notifications.models import Broadcast
from subscribers import addresses
from subscribers import services as people
from subscribers.models import Letter, LetterKind

NOTICES_KEPT = 256  # broadcasts × languages × zones under way in one worker; about 10 KB each


def notice(broadcast: Broadcast, language: str, time_zone: str = "") -> Notice:
    """Return what `broadcast` says in `language`; an update's times are in `time_zone`, or the page's."""
    page = reads.page_fact(reads.the_page())
    if broadcast.update_entry is not None and broadcast.incident_id is not None:
        incident = reads.incident_fact(
            reads.with_all(Incident.objects.filter(pk=broadcast.incident_id)).get()
        )
        first = reads.update_fact(broadcast.update_entry, incident.uid)
        update = _advised(incident, first)
        told = incident.told_in(language)
        told_update = _advised(told, first.told_in(language))
        url = (
            f"{page.url}/{'maintenance' if incident.is_maintenance else 'incidents'}/{incident.uid}"
        )
        said = messages.update_notice(
            page, told, told_update, language=language, url=url, time_zone=time_zone
        )
        return replace(said, machine=_machine(page, incident, update))
    if broadcast.call is not None:
        call = broadcast.call
        return messages.call_notice(
            page,
            reason=CallReason(call.reason),
            about=call.incident.name if call.incident else page.name,
            detail=call.text,
            called_at=call.created_at,
            due_at=_due_at(call),
            language=language,
            url=f"{settings.SITE_URL}/desk/",
        )
    assert broadcast.letter is not None, (
        "a broadcast has one entry (constraint broadcast_of_one_entry)"
    )
    return _letter(broadcast.letter, language)


def _due_at(call: Call) -> datetime | None:
    """Return when what the call is about happens by itself: a draft goes out, or a promise is over."""
    incident = call.incident
    if incident is None:
        return None
    if call.reason == CallReason.PROMISE_DUE:
        return incident.next_update_by
    if incident.published_at is None:
        return incident.publish_at
    drafts = incident.updates.filter(published_at__isnull=True, vetoed_at__isnull=True)
    at: datetime | None = drafts.aggregate(at=Min("publish_at"))["at"]
    return at


def _machine(page: PageFact, incident: IncidentFact, update: UpdateFact) -> str:
    """Return the update as JSON in Statuspage's words, as of this update: later ones are not told early."""
    components = [reads.component_fact(row) for row in Component.objects.select_related("group")]
    status = wire.status_json(components, [incident], page)
    said = tuple(each for each in incident.updates if each.number <= update.number)
    at = update.published_at or update.display_at
    words = wire.webhook_envelope(status, page, unsubscribe_url="", generated_at=at)
    words["incident"] = wire.webhook_incident_json(replace(incident, updates=said), page)
    return json.dumps(words)


def _advised(incident: IncidentFact, update: UpdateFact) -> UpdateFact:
    """Advice stands until the end: an update without its own repeats the last one given, as the page does."""
    if update.what_to_do or update.status in FINAL:
        return update
    earlier = (said for said in incident.updates if said.number < update.number and said.what_to_do)
    last = next(earlier, None)
    return replace(update, what_to_do=last.what_to_do) if last else update


def _letter(letter: Letter, language: str) -> Notice:
    page = reads.page_fact(reads.the_page())
    by_phone = letter.subscription.channel in ("sms", "voice")
    return messages.letter_notice(
        page,
        kind=messages.LetterKind(letter.kind),
        written_at=letter.created_at,
        language=language,
        link=people.letter_url(letter),
        code=addresses.code(letter.uid, settings.SECRET_KEY)
        if by_phone and letter.kind == LetterKind.CONFIRM
        else "",
    )


@lru_cache(maxsize=NOTICES_KEPT)
def _kept(broadcast_id: int, language: str, time_zone: str, version: str) -> Notice:
    found = Broadcast.objects.select_related(
        "update_entry", "call__incident", "letter__subscription"
    )
    return notice(found.get(pk=broadcast_id), language, time_zone)


def kept_notice(broadcast: Broadcast, language: str, time_zone: str = "") -> Notice:
    """Return the notice, rendered once per broadcast, language, zone and edit of the text."""
    assert broadcast.pk is not None
    entry = broadcast.update_entry
    # The update's own id, too: a row id may come again in a database that was put back.
    version = f"{entry.uid} {entry.edited_at}" if entry else str(broadcast.created_at)
    return _kept(broadcast.pk, language, time_zone, version)
