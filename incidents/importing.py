"""History of another status page into ours: ids and dates kept, nobody messaged, the same again changes nothing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import transaction

from incidents import doorbell, services
from incidents.lifecycle import (
    FINAL,
    MAINTENANCE,
    Audience,
    ComponentStatus,
    Impact,
    Status,
    is_maintenance,
)
from incidents.models import (
    BODY_CHARS_MAX,
    NAME_CHARS_MAX,
    Component,
    Group,
    Incident,
    IncidentComponent,
    Page,
    PostMortem,
    StatusChange,
    Update,
)

ACTOR = "import"
SLUG_CHARS_MAX = 64


@dataclass(frozen=True, slots=True)
class OldGroup:
    uid: str
    name: str
    position: int
    created_at: datetime
    updated_at: datetime
    description: str = ""


@dataclass(frozen=True, slots=True)
class OldComponent:
    uid: str
    slug: str  # a wish; numbered when it is taken
    name: str
    description: str
    status: ComponentStatus
    position: int
    group: str | None  # the group's uid
    created_at: datetime
    updated_at: datetime
    showcase: bool = True
    only_show_if_degraded: bool = False


@dataclass(frozen=True, slots=True)
class OldUpdate:
    uid: str
    status: Status
    body: str
    created_at: datetime
    updated_at: datetime
    display_at: datetime
    changes: tuple[
        tuple[str, str, ComponentStatus, ComponentStatus], ...
    ] = ()  # uid, name, old, new


@dataclass(frozen=True, slots=True)
class OldIncident:
    """Updates are oldest first, and there is at least one."""

    uid: str
    name: str
    status: Status
    impact: Impact
    created_at: datetime
    updated_at: datetime
    started_at: datetime
    updates: tuple[OldUpdate, ...]
    components: tuple[str, ...] = ()  # uids
    monitoring_at: datetime | None = None
    resolved_at: datetime | None = None
    scheduled_for: datetime | None = None
    scheduled_until: datetime | None = None
    postmortem: str = ""
    postmortem_at: datetime | None = None


@dataclass(slots=True)
class Taken:
    """What an import did."""

    incidents: int = 0
    updates: int = 0
    renewed: int = 0
    unchanged: int = 0
    changes: list[str] = field(default_factory=list)


@transaction.atomic
def take_components(
    page: Page, groups: Sequence[OldGroup], components: Sequence[OldComponent], *, now: datetime
) -> list[str]:
    """Create groups and components that are not there by id; return a line for each. What is there stays as it is."""
    said = []
    there = {row.uid: row for row in Group.objects.filter(page=page)}
    by_name = {row.name: row for row in there.values()}
    for old in groups:
        if old.uid in there:
            continue
        if old.name in by_name:
            there[old.uid] = by_name[old.name]
            continue
        there[old.uid] = by_name[old.name] = Group.objects.create(
            page=page, uid=old.uid, name=old.name[:NAME_CHARS_MAX], description=old.description, position=old.position,
            created_at=old.created_at, updated_at=old.updated_at,
        )  # fmt: skip
        said.append(f"group {old.name}: created")
    rows = dict(Component.objects.filter(page=page).values_list("uid", "slug"))
    slugs = set(rows.values())
    for each in components:
        if each.uid in rows:
            continue
        slug = _free(each.slug, slugs)
        slugs.add(slug)
        row = Component.objects.create(
            page=page, uid=each.uid, slug=slug, name=each.name[:NAME_CHARS_MAX], description=each.description,
            status=each.status, position=each.position, group=there.get(each.group or ""), showcase=each.showcase,
            only_show_if_degraded=each.only_show_if_degraded, created_at=each.created_at, updated_at=each.updated_at,
        )  # fmt: skip
        _begin(row, now)
        said.append(f"component {slug}: created")
    if said:
        services.audit(
            actor=ACTOR, action="import_components", subject=page.uid, after={"changes": said}, now=now
        )  # fmt: skip
        Page.objects.filter(pk=page.pk).update(updated_at=now)
    return said


def _free(slug: str, taken: set[str]) -> str:
    root = slug[: SLUG_CHARS_MAX - 5].strip("-_") or "component"
    numbers = range(2, len(taken) + 3)
    return next(
        name for name in (root, *(f"{root}-{number}" for number in numbers)) if name not in taken
    )


def _begin(row: Component, now: datetime) -> None:
    """Its history begins well; what the incidents say of it comes with them; how it is now holds from now on."""
    begun = min(row.created_at, now)
    StatusChange.objects.create(
        component=row, status=ComponentStatus.OPERATIONAL, at=begun, actor=ACTOR
    )
    if row.status != ComponentStatus.OPERATIONAL:
        StatusChange.objects.create(component=row, status=row.status, at=now, actor=ACTOR)


@transaction.atomic
def take_incidents(page: Page, incidents: Sequence[OldIncident], *, now: datetime) -> Taken:
    """Write a batch: new ones whole, and the further updates of those that were taken before.

    An incident that was declared here, or that somebody spoke in here, is left alone.
    """
    services.lock_page(page.pk)
    taken = Taken()
    uids = [each.uid for each in incidents]
    there = {row.uid: row for row in Incident.objects.filter(uid__in=uids)}
    said = set(
        Update.objects.filter(
            uid__in=[update.uid for each in incidents for update in each.updates]
        ).values_list("uid", flat=True)
    )
    components = {row.uid: row for row in Component.objects.filter(page=page)}
    new = [each for each in incidents if each.uid not in there]
    rows = Incident.objects.bulk_create(_incident(page, each, now) for each in new)
    there |= {row.uid: row for row in rows}
    fresh = {each.uid for each in new}
    updates: list[Update] = []
    for each in incidents:
        row = there[each.uid]
        missing = [update for update in each.updates if update.uid not in said]
        if each.uid not in fresh:
            if row.source.get("from") != ACTOR or row.person_posted or not missing:
                taken.unchanged += 1
                continue
            _renew(row, each, now)
            taken.renewed += 1
        first = 1 if each.uid in fresh else row.updates.count() + 1
        updates += [_update(row, old, number, now) for number, old in enumerate(missing, first)]
    Update.objects.bulk_create(updates)
    _affect(new, there, components)
    _history(updates, components)
    PostMortem.objects.bulk_create(
        PostMortem(
            incident=there[each.uid], body=each.postmortem, body_draft=each.postmortem, body_updated_at=each.postmortem_at,
            published_at=each.postmortem_at, created_at=each.postmortem_at or now, updated_at=each.postmortem_at or now,
        )
        for each in new
        if each.postmortem and each.postmortem_at
    )  # fmt: skip
    taken.incidents, taken.updates = len(new), len(updates)
    if updates:
        services.audit(
            actor=ACTOR, action="import_incidents", subject=page.uid, now=now,
            after={"incidents": [row.uid for row in rows], "updates": len(updates)},
        )  # fmt: skip
        Page.objects.filter(pk=page.pk).update(updated_at=now)
        doorbell.ring_on_commit("import")
    return taken


def _incident(page: Page, old: OldIncident, now: datetime) -> Incident:
    maintenance = is_maintenance(old.status)
    override = old.impact not in (Impact.NONE, Impact.MAINTENANCE)
    return Incident(
        page=page, uid=old.uid, name=old.name[:NAME_CHARS_MAX], status=old.status,
        impact=Impact.MAINTENANCE if maintenance else old.impact, impact_override=old.impact if override else "",
        source={"from": ACTOR}, created_at=old.created_at, updated_at=old.updated_at, started_at=old.started_at,
        detected_at=old.created_at, published_at=old.updates[0].display_at, monitoring_at=old.monitoring_at,
        resolved_at=_ended(old), scheduled_for=old.scheduled_for if maintenance else None,
        scheduled_until=_until(old) if maintenance else None,
    )  # fmt: skip


def _renew(row: Incident, old: OldIncident, now: datetime) -> None:
    """Bring an incident that went on over there to where it stands."""
    if is_maintenance(old.status) != (row.status in MAINTENANCE):
        return
    Incident.objects.filter(pk=row.pk).update(
        name=old.name[:NAME_CHARS_MAX], status=old.status, impact=old.impact, updated_at=old.updated_at,
        monitoring_at=old.monitoring_at, resolved_at=_ended(old),
    )  # fmt: skip


def _ended(old: OldIncident) -> datetime | None:
    if old.status not in FINAL:
        return None
    return old.resolved_at or old.updates[-1].display_at


def _until(old: OldIncident) -> datetime | None:
    end, start = old.scheduled_until, old.scheduled_for
    return end if end and start and end > start else None


def _update(incident: Incident, old: OldUpdate, number: int, now: datetime) -> Update:
    """`shown_at` is now: the publisher has nothing to mark, and the voice nothing to wait for."""
    return Update(
        uid=old.uid, incident=incident, number=number, status=old.status, body=old.body[:BODY_CHARS_MAX],
        audience=Audience.NOBODY, speaker=ACTOR, first_word=number == 1, created_at=old.created_at,
        updated_at=old.updated_at, display_at=old.display_at, published_at=old.display_at, shown_at=now,
        changes=[
            {"code": uid, "name": name, "old_status": str(before), "new_status": str(after)}
            for uid, name, before, after in old.changes
        ],
    )  # fmt: skip


def _affect(
    new: Sequence[OldIncident], there: Mapping[str, Incident], components: Mapping[str, Component]
) -> None:
    rows = []
    for old in new:
        last = {uid: after for update in old.updates for uid, _, _, after in update.changes}
        for uid in dict.fromkeys((*old.components, *last)):
            if uid in components:
                over = old.status in FINAL
                status = (
                    ComponentStatus.OPERATIONAL if over else last.get(uid, components[uid].status)
                )
                rows.append(
                    IncidentComponent(
                        incident=there[old.uid], component=components[uid], status=status
                    )
                )
    IncidentComponent.objects.bulk_create(rows)


def _history(updates: Sequence[Update], components: Mapping[str, Component]) -> None:
    """What the updates said of components is what is known of their past."""
    StatusChange.objects.bulk_create(
        StatusChange(
            component=components[change["code"]], status=change["new_status"], at=update.display_at,
            incident=update.incident, actor=ACTOR,
        )
        for update in updates
        for change in update.changes
        if change["code"] in components
    )  # fmt: skip
