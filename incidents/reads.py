"""Rows to facts, and the few look-ups that every room needs."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import orjson
from django.conf import settings
from django.db.models import Prefetch, QuerySet, TextField
from django.db.models.functions import Cast

from incidents.facts import (
    ComponentChange,
    ComponentFact,
    GroupFact,
    IncidentFact,
    PageFact,
    Translation,
    UpdateFact,
)
from incidents.lifecycle import ACTIVE, Audience, ComponentStatus, Impact, Status
from incidents.models import Component, Group, Incident, IncidentComponent, Page, Update

# Words to members: a look-up here takes a tenth of the enumeration's own.
_STATUS = {str(each): each for each in Status}
_AUDIENCE = {str(each): each for each in Audience}
_STATE = {str(each): each for each in ComponentStatus}
Affected = tuple[ComponentFact, ComponentStatus]  # the second under the incident


def the_page() -> Page:
    """Return the page, made with its defaults when nobody has named it yet."""
    page = Page.objects.order_by("id").first()
    return (
        page
        or Page.objects.get_or_create(
            id=1, defaults={"url": settings.SITE_URL, "languages": ["en"]}
        )[0]
    )


def page_fact(page: Page) -> PageFact:
    return PageFact(
        uid=page.uid,
        name=page.name,
        url=(page.url or settings.SITE_URL).rstrip("/"),
        time_zone=page.time_zone,
        languages=tuple(page.languages or ["en"]),
        updated_at=page.updated_at,
        created_at=page.created_at,
        headline=page.headline,
    )


def group_fact(group: Group) -> GroupFact:
    return GroupFact(
        group.uid, group.name, group.description, group.position, group.created_at, group.updated_at
    )


def component_fact(component: Component, groups: dict[int, str] | None = None) -> ComponentFact:
    """Return the fact; `groups` maps a group's row id to its uid and saves a query per component."""
    if component.group_id is None:
        group = None
    else:
        group = groups[component.group_id] if groups is not None else component.group.uid  # type: ignore[union-attr]  # just checked
    return ComponentFact(
        uid=component.uid,
        slug=component.slug,
        name=component.name,
        description=component.description,
        status=ComponentStatus(component.status),
        position=component.position,
        critical=component.critical,
        group=group,
        created_at=component.created_at,
        updated_at=component.updated_at,
        showcase=component.showcase,
        only_show_if_degraded=component.only_show_if_degraded,
        start_date=component.start_date,
        unknown_since=component.unknown_since,
        unknown_why=component.unknown_why,
    )


def update_fact(update: Update, incident_uid: str) -> UpdateFact:
    return UpdateFact(
        uid=update.uid,
        incident=incident_uid,
        number=update.number or 0,
        status=Status(update.status),
        body=update.body,
        what_to_do=update.what_to_do,
        created_at=update.created_at,
        updated_at=update.updated_at,
        display_at=update.display_at,
        published_at=update.published_at,
        next_update_by=update.next_update_by,
        audience=Audience(update.audience),
        automatic=update.automatic,
        speaker=update.speaker,
        changes=tuple(_changes(update.changes)),
        edited_at=update.edited_at,
        custom_tweet=update.custom_tweet,
        first_word=update.first_word,
        new_impact=update.new_impact,
        retraction=update.retraction,
        translations=_translations(update.translations),
    )


def _translations(words: Mapping[str, Mapping[str, str]]) -> tuple[Translation, ...]:
    return tuple(Translation(language, **said) for language, said in sorted(words.items()))


def _changes(rows: Iterable[dict[str, str]]) -> Iterable[ComponentChange]:
    for row in rows:
        old, new = _STATE[row["old_status"]], _STATE[row["new_status"]]
        yield ComponentChange(row["code"], row["name"], old, new)


def with_all(incidents: QuerySet[Incident]) -> QuerySet[Incident]:
    """Fetch what incident_fact() needs in a constant number of queries."""
    said = Update.objects.filter(published_at__isnull=False).order_by("-display_at", "-id")
    affected = IncidentComponent.objects.select_related("component__group").order_by(
        "component__position", "id"
    )
    return incidents.select_related("postmortem").prefetch_related(
        Prefetch("affected", queryset=affected), Prefetch("updates", queryset=said)
    )


# As UpdateFact has them, after the incident they belong to.
_SAID = (
    "incident_id", "uid", "number", "status", "body", "what_to_do", "created_at", "updated_at", "display_at", "published_at",
    "next_update_by", "audience", "automatic", "speaker", "changes", "edited_at", "custom_tweet", "first_word", "new_impact",
    "retraction", "translations",
)  # fmt: skip
_INSTANTS = frozenset({"created_at", "updated_at", "display_at", "published_at", "next_update_by", "edited_at"})  # fmt: skip


_JSON = frozenset({"changes", "translations"})


def _read_as(name: str) -> str | Cast:
    """Instants and JSON are read as text: the driver's and Django's own ways took half of a long list's time."""
    return Cast(name, TextField()) if name in _INSTANTS or name in _JSON else name


def _instant(text: str) -> datetime:
    """Return what the database wrote, which PostgreSQL marks as UTC and SQLite does not."""
    at = datetime.fromisoformat(text)
    return at if at.tzinfo is UTC else at.replace(tzinfo=UTC)


def incident_facts(incidents: QuerySet[Incident]) -> list[IncidentFact]:
    """Return the facts of many incidents in a constant number of queries.

    Updates are read as tuples and each component once: rows of a model take most of the time of a long list.
    """
    rows = list(incidents.select_related("postmortem"))
    uids = {row.pk: row.uid for row in rows}
    affected = _affected(uids)
    said: dict[int, list[UpdateFact]] = {pk: [] for pk in uids}
    updates = Update.objects.filter(incident__in=uids, published_at__isnull=False)
    columns = [_read_as(name) for name in _SAID]
    for incident, uid, number, status, *words in updates.order_by("-display_at", "-id").values_list(*columns):  # fmt: skip
        (
            body,
            what_to_do,
            created,
            updated,
            shown,
            published,
            promised,
            audience,
            automatic,
            speaker,
            changes,
            edited,
            tweet,
            is_first,
            new_impact,
            retracts,
            translated,
        ) = words
        fact = UpdateFact(
            uid, uids[incident], number or 0, _STATUS[status], body, what_to_do, _instant(created), _instant(updated),
            _instant(shown), _instant(published), _instant(promised) if promised else None, _AUDIENCE[audience], automatic,
            speaker, tuple(_changes(orjson.loads(changes))), _instant(edited) if edited else None, tweet,
            is_first, new_impact, retracts, () if translated == "{}" else _translations(orjson.loads(translated)),
        )  # fmt: skip
        said[incident].append(fact)
    return [_incident_fact(row, tuple(said[row.pk]), affected[row.pk]) for row in rows]


def _affected(incidents: Iterable[int]) -> dict[int, list[Affected]]:
    """Return the components of each of these incidents, in the page's order."""
    found: dict[int, list[Affected]] = {pk: [] for pk in incidents}
    links = IncidentComponent.objects.filter(incident__in=found).order_by(
        "component__position", "id"
    )
    rows = list(links.values_list("incident_id", "component_id", "status"))
    components = Component.objects.select_related("group").in_bulk({row[1] for row in rows})
    facts = {pk: component_fact(component) for pk, component in components.items()}
    for incident, component, status in rows:
        if component in facts:  # not deleted in between
            found[incident].append((facts[component], _STATE[status]))
    return found


def incident_fact(incident: Incident) -> IncidentFact:
    """Return the fact of an incident that came through with_all(); only published updates are in it."""
    updates = tuple(update_fact(update, incident.uid) for update in incident.updates.all())
    affected = [
        (component_fact(row.component), ComponentStatus(row.status))
        for row in incident.affected.all()
    ]
    return _incident_fact(incident, updates, affected)


def _incident_fact(
    incident: Incident, updates: tuple[UpdateFact, ...], affected: Sequence[Affected]
) -> IncidentFact:
    postmortem = getattr(incident, "postmortem", None)
    return IncidentFact(
        uid=incident.uid,
        name=incident.name,
        status=Status(incident.status),
        impact=Impact(incident.impact_override or incident.impact),
        created_at=incident.created_at,
        updated_at=incident.updated_at,
        started_at=incident.started_at,
        monitoring_at=incident.monitoring_at,
        resolved_at=incident.resolved_at,
        automatic=incident.automatic,
        updates=updates,
        components=tuple(component for component, _ in affected),
        component_statuses=tuple((component.uid, status) for component, status in affected),
        published_at=incident.published_at,
        detected_at=incident.detected_at,
        scheduled_for=incident.scheduled_for,
        scheduled_until=incident.scheduled_until,
        next_update_by=incident.next_update_by,
        impact_override=Impact(incident.impact_override) if incident.impact_override else None,
        retracted_at=incident.retracted_at,
        backfilled=incident.backfilled,
        social=incident.social,
        metadata=tuple(sorted(incident.metadata.items())),
        postmortem_body=postmortem.body if postmortem and postmortem.published_at else "",
        postmortem_published_at=postmortem.published_at if postmortem else None,
        auto_in_progress=incident.auto_in_progress,
        auto_completed=incident.auto_completed,
    )


def active_incidents(page: Page) -> QuerySet[Incident]:
    """Published incidents that affect components now."""
    return Incident.objects.filter(page=page, published_at__isnull=False, status__in=ACTIVE)


def audience_of(incident: Incident) -> Audience:
    """Return whom the machine's own words go to: nobody, where nothing of the incident was told to everyone."""
    told = incident.updates.filter(number__isnull=False, audience=Audience.EVERYONE)
    return Audience.EVERYONE if told.exists() else Audience.NOBODY


def newest_number(incident: Incident) -> int:
    """Return the number of the newest published update, 0 when there is none."""
    newest = (
        incident.updates.filter(number__isnull=False)
        .order_by("-number")
        .values_list("number", flat=True)
        .first()
    )
    return newest or 0


def draft_deadline(incident: Incident) -> datetime | None:
    """Return when this draft goes out by itself, None when it waits for a person."""
    return (
        incident.publish_at
        if incident.published_at is None and incident.vetoed_at is None
        else None
    )
