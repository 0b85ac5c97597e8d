"""What is done about a verdict: draft, publish, append, recover; under one lock a page."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django.db.models import QuerySet

from incidents import services as core
from incidents import trace
from incidents.lifecycle import (
    FINAL,
    MAINTENANCE,
    OPEN,
    CallReason,
    ComponentStatus,
    Status,
    worst,
)
from incidents.models import Component, Incident, Page, Template, Update
from probes import policy as policies
from probes.models import CurrentVerdict, Policy
from probes.policy import Back, Case, Move, Night, Publish, Window
from probes.rule import Rule
from probes.words import BAD, Word, gravity

ACTOR: Final = "probes"
# Of one component: more maintenances at once are a mistake.
WINDOWS_MAX: Final = 20
# contract.md, "Machine and people".
PERSON_WAIT: Final = timedelta(seconds=300)
# Alertmanager's repeat_interval is 4 h by default: what was not repeated for longer has lost its end.
ALERT_HOLDS: Final = timedelta(hours=5)
# In a draft's source: the checks are done with it, the desk goes on by the rules of its alerts.
LEFT_TO_ALERTS: Final = "left_to_alerts"
PUBLIC: Final[Mapping[str, ComponentStatus]] = {
    Word.DEGRADED: ComponentStatus.DEGRADED_PERFORMANCE,
    Word.PARTIAL: ComponentStatus.PARTIAL_OUTAGE,
    Word.STALE: ComponentStatus.MAJOR_OUTAGE,
    Word.OUTAGE: ComponentStatus.MAJOR_OUTAGE,
}
# What readers notice of each verdict.
NOTICED: Final[Mapping[str, str]] = {
    Word.DEGRADED: "is slow",
    Word.PARTIAL: "fails for some",
    Word.STALE: "shows old data",
    Word.OUTAGE: "is not working",
}


def lock(page: Page) -> list[CurrentVerdict]:
    """Lock all verdicts of a page, in one order; whoever holds them acts alone."""
    ids = CurrentVerdict.objects.select_for_update().filter(of_check__page=page).order_by("id")
    pks = [row.pk for row in ids]
    found = CurrentVerdict.objects.filter(pk__in=pks).order_by("id")
    rows = list(found.select_related("component", "incident__page", "of_check"))
    # One object for each incident: what one verdict does to it, the next one sees.
    incidents = {row.incident_id: row.incident for row in rows}
    for row in rows:
        row.incident = incidents[row.incident_id]
    return rows


def act_alone(page: Page, *, now: datetime) -> None:
    """Do what has fallen due: clean long enough, vetoed, withdrawn."""
    with transaction.atomic():
        act(page, lock(page), now=now)


def act(page: Page, rows: Sequence[CurrentVerdict], *, now: datetime) -> None:
    """Bring the public in line with the verdicts. The caller holds the lock on all rows."""
    _show_unknown(page, rows, now)
    _claim(rows)
    for row in rows:
        _let_go(row)
    for row in sorted(rows, key=lambda each: gravity(each.claim), reverse=True):
        if row.claim in BAD or row.claim == Word.SLOW_BURN:
            _say(page, row, rows, now)
    for row in rows:
        if row.word == Word.UNKNOWN and row.skipped:
            _name_unchecked(page, row, now)
    _recover(rows, now)
    _forget_what_is_over(rows)


def _claim(rows: Sequence[CurrentVerdict]) -> None:
    """Say what each verdict means for its component: one cohort down is a partial outage."""
    for row in rows:
        others = [
            (each.of_check.cohort, each.word)
            for each in rows
            if each.component_id == row.component_id and each.pk != row.pk
        ]
        word = Word(row.word) if row.word else Word.UNKNOWN
        row.claim = policies.claim(word, row.of_check.cohort, others)


def _show_unknown(page: Page, rows: Sequence[CurrentVerdict], now: datetime) -> None:
    """A component of which no check can tell is unknown at once; of each blind check operators hear."""
    for component in {row.component_id: row.component for row in rows}.values():
        mine = [row for row in rows if row.component_id == component.pk and row.word]
        if mine and all(row.word == Word.UNKNOWN for row in mine):
            first = mine[0]
            since = first.began_at or now
            core.set_unknown(component, why=first.unknown_why, since=since, now=now)
        elif mine:
            core.clear_unknown(component, now=now)
    blind = [row for row in rows if row.word == Word.UNKNOWN and not row.skipped]
    seen = {row.component_id for row in rows if row.word and row.word != Word.UNKNOWN}
    _call_for_blindness(page, blind, seen, now)


def _call_for_blindness(
    page: Page, blind: Sequence[CurrentVerdict], seen: Collection[int], now: datetime
) -> None:
    """Call operators once for each check that cannot tell, and each time that it begins.

    Components that are `seen` another check can tell of.
    """
    for check_id in dict.fromkeys(row.of_check_id for row in blind):
        mine = [row for row in blind if row.of_check_id == check_id]
        names = " and ".join(row.component.name for row in mine)
        is_seen = any(row.component_id in seen for row in mine)
        who = f"The check {mine[0].of_check.slug} cannot" if is_seen else "Nobody can"
        since = min((row.since for row in mine if row.since), default=now)
        core.call_operators(
            page=page,
            reason=CallReason.BLIND,
            text=f"{who} tell how {names} {'is' if len(mine) == 1 else 'are'}. {mine[0].reasoning}",
            key=f"blind:{check_id}:{since:%Y%m%d%H%M%S}",
            now=now,
        )


def _let_go(row: CurrentVerdict) -> None:
    """Part a verdict from an incident that was vetoed or is over."""
    incident = row.incident
    if incident is None or not (incident.status in FINAL or incident.vetoed_at):
        return
    ended_at = incident.vetoed_at or incident.resolved_at
    is_newer = row.since is not None and ended_at is not None and row.since > ended_at
    # Somebody ended it while we still saw the trouble: that holds until it was clean once.
    row.vetoed_word = row.said_word if row.claim in BAD and not is_newer else ""
    _part(row)


def _forget_what_is_over(rows: Sequence[CurrentVerdict]) -> None:
    """What was said of a mended verdict holds no longer than its incident tells it: bad again, it is said again."""
    for row in rows:
        if row.incident is None or not row.said_word or row.clean_since is None:
            continue
        if not _is_said(row, row.incident, row.said_word) and not _is_to_be_said(row, row.incident):
            row.said_word = ""
            row.save(update_fields=["said_word"])


def _is_to_be_said(row: CurrentVerdict, incident: Incident) -> bool:
    """Say whether a follow-up that waits tells of trouble of the component."""
    return any(row.component.uid in _troubled(draft) for draft in _waiting(incident))


def _waiting(incident: Incident) -> QuerySet[Update]:
    """Return the machine's follow-ups that neither went out nor were vetoed."""
    return incident.updates.filter(automatic=True, number__isnull=True, vetoed_at__isnull=True)


def _troubled(draft: Update) -> set[str]:
    """Return the components (uids) of which a draft tells that they do not work as they should."""
    return {
        change["code"]
        for change in draft.changes
        if change["new_status"] != ComponentStatus.OPERATIONAL
    }


def _part(row: CurrentVerdict) -> None:
    row.incident, row.said_word = None, ""
    row.save(update_fields=["incident", "said_word", "vetoed_word"])


def _say(page: Page, row: CurrentVerdict, rows: Sequence[CurrentVerdict], now: datetime) -> None:
    """Do what the first matching policy wants of a verdict."""
    policy = _policy(page, row)
    own = row.incident
    rule = Rule.parse(row.of_check.rule)
    case = Case(
        word=Word(row.claim),
        publish=Publish(policy.publish) if policy else None,
        said_word=row.said_word,
        vetoed_word=row.vetoed_word,
        is_said=own is not None,
        is_published=own is not None and own.published_at is not None,
        is_monitored=own is not None and own.status == Status.MONITORING,
        is_told_over=own is not None
        and own.published_at is not None
        and _told(row, own) == ComponentStatus.OPERATIONAL,
        is_in_shadow=policies.is_in_shadow(
            changed_at=row.of_check.shadow_from,
            up_at=row.up_at,
            rejected=row.rejected,
            now=now,
            shadow_s=rule.shadow_s,
        ),
    )
    move = policies.respond(case)
    if move is Move.NOTHING or policy is None:
        return
    if policies.is_in_maintenance(_windows(row, now), now, grace_s=rule.maintenance_grace_s):
        return
    if move is Move.CALL:
        _call(page, row, now, why=_HELD_BACK if case.is_in_shadow else "")
        return
    if move is Move.RELAPSE and own is not None:
        _relapse(page, row, rows, own, policy, now)
        return
    _speak_up(page, row, rows, policy, now)


_HELD_BACK: Final = " The check was not up since it was made or changed: nothing is said in public."


def _speak_up(
    page: Page, row: CurrentVerdict, rows: Sequence[CurrentVerdict], policy: Policy, now: datetime
) -> None:
    """Say a verdict where it belongs."""
    due = policies.deadline(
        Publish(policy.publish),
        now,
        veto_s=policy.veto_s,
        publish_after_s=policy.publish_after_s,
        night=Night.parse(policy.night) if policy.night else None,
    )
    incident = _open_incident(page, row)
    recent = _recent_incident(page, row, now) if incident is None else None
    move = policies.speak(
        is_open=incident is not None,
        is_published=incident is not None and incident.published_at is not None,
        is_relapse=recent is not None,
    )
    if move is Move.REOPEN and recent is not None:
        _reopen(page, row, recent, policy, due, now)
    elif move is Move.WIDEN and incident is not None:
        _widen(page, row, rows, incident, policy, due, now)
    elif move is Move.APPEND and incident is not None:
        _append(page, row, rows, incident, policy, due, now)
    else:
        _declare(page, row, policy, due, now)


def _windows(row: CurrentVerdict, now: datetime) -> list[Window]:
    """Return the maintenances of the component that have begun."""
    found = Incident.objects.filter(
        status__in=MAINTENANCE,
        published_at__isnull=False,
        retracted_at__isnull=True,
        scheduled_for__lte=now,
        components=row.component_id,
    ).order_by("-scheduled_for")[:WINDOWS_MAX]
    return [_window(each) for each in found]


def _window(maintenance: Incident) -> Window:
    """Return its window; one that was completed early ended then."""
    begins = maintenance.scheduled_for
    assert begins is not None, "a maintenance has a window: a database constraint"
    ends = [each for each in (maintenance.scheduled_until, maintenance.resolved_at) if each]
    return Window(begins, min(ends) if ends else None)


def _policy(page: Page, row: CurrentVerdict) -> Policy | None:
    mine = Policy.objects.filter(page=page, component_id=row.component_id)
    return next((each for each in mine if row.claim in each.verdicts), None)


def _call(page: Page, row: CurrentVerdict, now: datetime, *, why: str = "") -> None:
    if row.called_for == row.claim:
        return
    since = row.since or now
    core.call_operators(
        page=page,
        reason=CallReason.VERDICT,
        text=f"{row.component.name}: {row.claim}{_of_cohort(row)}. {row.reasoning}{why}",
        key=f"verdict:{row.pk}:{row.claim}:{since:%Y%m%d%H%M%S}",
        now=now,
    )
    row.called_for = row.claim
    row.save(update_fields=["called_for"])


def _open_incident(page: Page, row: CurrentVerdict) -> Incident | None:
    """Return the open automatic incident, else one that people opened for this component."""
    alive = Incident.objects.filter(page=page, status__in=OPEN, vetoed_at__isnull=True)
    automatic = alive.filter(automatic=True).order_by("-id").first()
    by_people = alive.filter(published_at__isnull=False, components=row.component_id)
    return automatic or by_people.order_by("-id").first()


def _recent_incident(page: Page, row: CurrentVerdict, now: datetime) -> Incident | None:
    """Return the incident that this is a relapse of."""
    rule = Rule.parse(row.of_check.rule)
    return (
        Incident.objects.filter(
            page=page,
            automatic=True,
            status=Status.RESOLVED,
            published_at__isnull=False,
            retracted_at__isnull=True,
            resolved_at__gte=now - timedelta(seconds=rule.reopen_within_s),
            components=row.component_id,
        )
        .order_by("-resolved_at")
        .first()
    )


@dataclass(frozen=True, slots=True)
class _Text:
    """What is said of a verdict: the policy's template, or a plain sentence."""

    name: str
    body: str
    what_to_do: str
    template: Template | None

    @property
    def translations(self) -> dict[str, dict[str, str]]:
        return dict(self.template.translations) if self.template else {}

    def next_update_by(self, at: datetime) -> datetime | None:
        if self.template is None or self.template.next_update_in_s is None:
            return None
        return at + timedelta(seconds=self.template.next_update_in_s)


def _text(page: Page, row: CurrentVerdict, policy: Policy) -> _Text:
    template = Template.objects.filter(page=page, slug=policy.template).first()
    if template is not None:
        return _Text(template.name, template.body, template.what_to_do, template)
    name = _noticed(row)
    return _Text(name, f"Our checks find: {name}. We are looking into it.", "", None)


def _noticed(row: CurrentVerdict) -> str:
    """Return what readers notice, as a sentence without its stop."""
    if row.claim == Word.PARTIAL and row.of_check.cohort:
        return f"{row.component.name} fails for {row.of_check.cohort}"
    return f"{row.component.name} {NOTICED[row.claim]}"


def _of_cohort(row: CurrentVerdict) -> str:
    return f" for {row.of_check.cohort}" if row.of_check.cohort else ""


def _source(row: CurrentVerdict) -> dict[str, Any]:
    """Return why the machine speaks, for the desk."""
    return {
        "check": row.of_check.slug,
        "component": row.component.slug,
        "verdict": row.claim,
        "cohort": row.of_check.cohort,
        "reasoning": row.reasoning,
        "step": row.step,
        trace.KEY: trace_of(row),
    }


def trace_of(row: CurrentVerdict) -> str:
    """Return the id that log lines about this verdict carry: that of its incident, or of its trouble's beginning."""
    if row.incident is not None:
        return trace.of_incident(row.incident.uid, row.incident.source)
    began = f"{row.began_at:%Y%m%d%H%M%S}" if row.began_at else ""
    return trace.made_of("verdict", row.of_check.slug, row.component.slug, began)


def _declare(
    page: Page, row: CurrentVerdict, policy: Policy, due: datetime | None, now: datetime
) -> None:
    text = _text(page, row, policy)
    at_once = due is not None and due <= now
    incident = core.declare(
        page=page,
        name=text.name,
        body=text.body,
        what_to_do=text.what_to_do,
        translations=text.translations,
        components={row.component: PUBLIC[row.claim]},
        published=at_once,
        publish_at=None if at_once else due,
        started_at=row.began_at or now,
        detected_at=now,
        automatic=True,
        template=text.template,
        next_update_by=text.next_update_by(due or now),
        source=_source(row),
        actor=ACTOR,
        now=now,
    )
    _said(row, incident)
    if not at_once:
        _call_for_draft(page, row, incident, due, now)


def _widen(
    page: Page,
    row: CurrentVerdict,
    rows: Sequence[CurrentVerdict],
    draft: Incident,
    policy: Policy,
    due: datetime | None,
    now: datetime,
) -> None:
    """Add a verdict to a draft: the earliest deadline, the text of the worst."""
    said = [each for each in rows if each.incident_id == draft.pk and each.pk != row.pk]
    if said:
        is_worst = all(gravity(row.claim) > gravity(each.said_word) for each in said)
    else:
        # An alert opened the draft: its text gives way to a graver one only.
        is_worst = not _is_said_of_any(row, draft)
    fields: dict[str, Any] = {}  # Any: columns of several types.
    if is_worst:
        text = _text(page, row, policy)
        fields = {
            "name": text.name,
            "body": text.body,
            "what_to_do": text.what_to_do,
            "translations": text.translations,
            "template": text.template,
            "source": _source(row),
        }
    deadlines = [each for each in (draft.publish_at, due) if each is not None]
    if deadlines:
        fields["publish_at"] = min(deadlines)
    core.add_to_draft(
        draft,
        components={row.component: _status_of(row, rows, draft)},
        now=now,
        **fields,
    )
    _said(row, draft)
    if deadlines and min(deadlines) <= now:
        core.publish_draft(draft, actor=ACTOR, now=now)
    else:
        draft.refresh_from_db()
        _call_for_draft(page, row, draft, draft.publish_at, now)


def _is_said_of_any(row: CurrentVerdict, draft: Incident) -> bool:
    told = worst(ComponentStatus(each.status) for each in draft.affected.all())
    return worst([told, PUBLIC[row.claim]]) == told


def _status_of(
    row: CurrentVerdict, rows: Sequence[CurrentVerdict], incident: Incident
) -> ComponentStatus:
    """Return the worst that this verdict and the other checks of this incident say of the component."""
    same = [
        each.said_word
        for each in rows
        if each.component_id == row.component_id
        and each.incident_id == incident.pk
        and each.pk != row.pk
    ]
    return worst(PUBLIC[word] for word in (*same, row.claim) if word in PUBLIC)


def _append(
    page: Page,
    row: CurrentVerdict,
    rows: Sequence[CurrentVerdict],
    incident: Incident,
    policy: Policy,
    due: datetime | None,
    now: datetime,
) -> None:
    """Say a further verdict in an open incident, judged by its own policy."""
    text = _text(page, row, policy)
    name = _noticed(row)
    status = _news(row, rows, incident)
    if status is not None:
        saying = _Saying(
            status=_back_from(incident),
            body=text.body if text.template else f"Our checks find: {name}.",
            components={row.component: status},
            text=text,
        )
        _speak(page, incident, saying, row, due=due, now=now)
    _said(row, incident)


def _back_from(incident: Incident) -> Status:
    """Return where an incident stands when it has trouble: monitored no longer."""
    is_monitored = incident.status == Status.MONITORING
    return Status.INVESTIGATING if is_monitored else Status(incident.status)


def _news(
    row: CurrentVerdict, rows: Sequence[CurrentVerdict], incident: Incident
) -> ComponentStatus | None:
    """Return how the component is, None where the incident tells as much already."""
    if incident.status == Status.MONITORING:
        return _status_of(row, rows, incident)
    return None if _is_said(row, incident, row.claim) else PUBLIC[row.claim]


def _is_said(row: CurrentVerdict, incident: Incident, word: str) -> bool:
    """Say whether the incident already tells as much of the component, by another check or a person."""
    told = _told(row, incident)
    return told is not None and worst([told, PUBLIC[word]]) == told


def _told(row: CurrentVerdict, incident: Incident) -> ComponentStatus | None:
    there = incident.affected.filter(component_id=row.component_id).first()
    return ComponentStatus(there.status) if there else None


def _relapse(
    page: Page,
    row: CurrentVerdict,
    rows: Sequence[CurrentVerdict],
    incident: Incident,
    policy: Policy,
    now: datetime,
) -> None:
    """The trouble is back before the incident was over."""
    status = _news(row, rows, incident)
    if status is not None:
        saying = _Saying(
            status=_back_from(incident),
            body=f"{_noticed(row)} again. We are looking into it.",
            components={row.component: status},
            text=_text(page, row, policy),
        )
        _speak(page, incident, saying, row, due=now, now=now)
    _said(row, incident)


def _reopen(
    page: Page,
    row: CurrentVerdict,
    incident: Incident,
    policy: Policy,
    due: datetime | None,
    now: datetime,
) -> None:
    """The trouble is back after the incident was over: the same one is open again.

    A reopening has no draft; where the policy or a person's hand asks for a wait, operators are
    called and it reopens when the wait is over and the trouble is still there.
    """
    since = row.since or now
    wait = (due - now) if due is not None else None
    if incident.person_posted and wait is not None:
        wait = max(wait, PERSON_WAIT)
    if wait is None or now < since + wait:
        _call(page, row, now)
        return
    text = _text(page, row, policy)
    core.reopen(
        incident,
        body=f"{_noticed(row)} again. We are looking into it.",
        what_to_do=text.what_to_do,
        components={row.component: PUBLIC[row.claim]},
        next_update_by=text.next_update_by(now),
        automatic=True,
        actor=ACTOR,
        now=now,
    )
    _said(row, incident)


@dataclass(frozen=True, slots=True)
class _Saying:
    """A follow-up of the machine."""

    status: Status
    body: str
    components: Mapping[Component, ComponentStatus]
    text: _Text | None = None

    @property
    def translations(self) -> dict[str, dict[str, str]]:
        """The template's, where its own words are said; of its advice only, where the machine says something shorter."""
        if self.text is None or self.text.template is None:
            return {}
        if self.body == self.text.body:
            return self.text.translations
        return {
            language: {"what_to_do": said["what_to_do"]}
            for language, said in self.text.translations.items()
            if said.get("what_to_do")
        }


def _speak(
    page: Page,
    incident: Incident,
    saying: _Saying,
    row: CurrentVerdict,
    *,
    due: datetime | None,
    now: datetime,
    taken_back: Sequence[str] = (),
) -> None:
    """Post a follow-up, or draft it where a person speaks or the policy wants a wait.

    Drafts `taken_back` (uids) do not keep it from being drafted once more.
    """
    if incident.person_posted and due is not None:
        due = max(due, now + PERSON_WAIT)
    words: dict[str, Any] = {  # Any: keyword arguments of several types.
        "status": saying.status,
        "body": saying.body,
        "what_to_do": saying.text.what_to_do if saying.text else "",
        "translations": saying.translations,
        "components": saying.components,
        "next_update_by": saying.text.next_update_by(due or now) if saying.text else None,
        "actor": ACTOR,
        "now": now,
    }
    if due is not None and due <= now:
        core.publish_update(incident, automatic=True, **words)
        incident.refresh_from_db()
    elif not _is_drafted(incident, saying, row.since or now, taken_back):
        core.draft_update(incident, publish_at=due, **words)
        _call_for_draft(page, row, incident, due, now)


def _is_drafted(
    incident: Incident, saying: _Saying, since: datetime, taken_back: Sequence[str]
) -> bool:
    """Say whether the machine has drafted this since then, vetoed or not."""
    drafts = incident.updates.exclude(uid__in=taken_back).filter(
        automatic=True,
        published_at__isnull=True,
        number__isnull=True,
        status=saying.status,
        created_at__gte=since,
    )
    uids = {component.uid for component in saying.components}
    return any(uids <= {change["code"] for change in draft.changes} for draft in drafts)


def _call_for_draft(
    page: Page,
    row: CurrentVerdict,
    incident: Incident,
    due: datetime | None,
    now: datetime,
) -> None:
    when = f"goes out by itself at {due:%H:%M:%S} UTC" if due else "waits for a person"
    core.call_operators(
        page=page,
        reason=CallReason.DRAFT_WAITS,
        text=f'A draft about "{incident.name}" {when}. {row.reasoning}',
        key=f"draft:{incident.uid}:{row.pk}:{row.claim}:{row.since or now:%Y%m%d%H%M%S}",
        incident=incident,
        now=now,
    )


def _said(row: CurrentVerdict, incident: Incident) -> None:
    row.incident, row.said_word = incident, row.claim
    row.save(update_fields=["incident", "said_word"])


def _name_unchecked(page: Page, row: CurrentVerdict, now: datetime) -> None:
    """An incident that keeps a component from being checked names that component too."""
    cause = CurrentVerdict.objects.filter(
        of_check_id=row.of_check_id, incident__isnull=False, incident__status__in=OPEN
    ).exclude(component_id=row.component_id)
    found = cause.select_related("incident").first()
    if found is None or found.incident is None:
        return
    incident = found.incident
    if incident.affected.filter(component_id=row.component_id).exists():
        return
    components = {row.component: ComponentStatus(row.component.status)}
    if incident.published_at is None:
        core.add_to_draft(incident, components=components, now=now)
        return
    saying = _Saying(
        status=Status(incident.status),
        body=f"{row.component.name} cannot be checked while this lasts: it may be affected too.",
        components=components,
    )
    _speak(page, incident, saying, row, due=now, now=now)


# ---- the way back -------------------------------------------------------------------------


def _recover(rows: Sequence[CurrentVerdict], now: datetime) -> None:
    """Say that it works again, and later that it is over; withdraw a draft that came to nothing."""
    incidents = {row.incident_id: row.incident for row in rows if row.incident is not None}
    for incident in incidents.values():
        mine = [row for row in rows if row.incident_id == incident.pk]
        _recover_one(incident, mine, now)


def _recover_one(incident: Incident, mine: Sequence[CurrentVerdict], now: datetime) -> None:
    # The desk's: what fires there is trouble that no check of ours may end.
    alerts = incident.alerts.filter(ended_at__isnull=True, seen_at__gte=now - ALERT_HOLDS)
    is_alerted = alerts.exists()
    if is_alerted or any(row.clean_since is None for row in mine):
        # It is not over after all: what was drafted of that must not go out.
        _withdraw_follow_ups(incident, _ALL_CLEAR, now)
    else:
        # Nor must what was drafted of trouble that has passed.
        _withdraw_follow_ups(incident, (Status.INVESTIGATING, Status.IDENTIFIED), now)
    clean_since = [row.clean_since for row in (*mine, *_named_by(incident, mine))]
    due = policies.way_back(
        clean_since,
        [Rule.parse(row.of_check.rule) for row in mine],
        now,
        is_published=incident.published_at is not None,
        is_monitored=incident.status == Status.MONITORING,
    )
    clean = max((each for each in clean_since if each is not None), default=now)
    match due:
        case Back.WAIT:
            return
        case Back.WITHDRAW if is_alerted:
            _leave_to_alerts(incident, mine, now)
        case _ if is_alerted:
            _call_for_alerts(incident, now)
        case Back.WITHDRAW:
            _withdraw(incident, mine, now)
        case Back.MONITOR:
            _follow_up(incident, mine, Status.MONITORING, clean, now)
        case Back.RESOLVE:
            _follow_up(incident, mine, Status.RESOLVED, clean, now)


def _named_by(incident: Incident, mine: Sequence[CurrentVerdict]) -> list[CurrentVerdict]:
    """Return what else these checks say of components that the incident names, while not clean."""
    return list(
        CurrentVerdict.objects.filter(
            of_check_id__in=[row.of_check_id for row in mine],
            component__affected__incident=incident,
            clean_since__isnull=True,
        )
    )


_ALL_CLEAR: Final = (Status.MONITORING, Status.RESOLVED)


def _withdraw_follow_ups(incident: Incident, statuses: Sequence[Status], now: datetime) -> None:
    """Take back what the machine drafted and the checks no longer bear out."""
    if incident.published_at is None:
        return
    for draft in _waiting(incident).filter(status__in=statuses):
        # While it is monitored, an alert's trouble is drafted under that status: no all-clear.
        if not (draft.status in _ALL_CLEAR and _troubled(draft)):
            core.veto(draft, actor=ACTOR, now=now)


def _withdraw(incident: Incident, mine: Sequence[CurrentVerdict], now: datetime) -> None:
    """The trouble passed before anybody was told of it."""
    for row in mine:
        _part(row)
    core.veto(incident, actor=ACTOR, now=now)


def _leave_to_alerts(incident: Incident, mine: Sequence[CurrentVerdict], now: datetime) -> None:
    """Of an alert alone nothing goes out at the checks' deadline; the desk sets the alert's own."""
    for row in mine:
        _part(row)
    source = incident.source | {LEFT_TO_ALERTS: True}
    Incident.objects.filter(pk=incident.pk).update(source=source)
    core.move_deadline(incident, publish_at=None, actor=ACTOR, now=now)


def _call_for_alerts(incident: Incident, now: datetime) -> None:
    """Say once that the checks would give the all-clear: an alert's end may be lost."""
    core.call_operators(
        page=incident.page,
        reason=CallReason.PROBLEM,
        text=f'"{incident.name}" stays open: the checks find that it works, but an alert has not ended.',
        key=f"alert-holds:{incident.uid}",
        incident=incident,
        now=now,
    )


def _follow_up(
    incident: Incident,
    mine: Sequence[CurrentVerdict],
    status: Status,
    clean: datetime,
    now: datetime,
) -> None:
    names = " and ".join(sorted({row.component.name for row in mine}))
    body = {
        Status.MONITORING: f"Our checks find that this works again: {names}. We keep watching.",
        Status.RESOLVED: f"Without fault since {clean:%H:%M} UTC: {names}. This is over.",
    }[status]
    template = incident.template if status is Status.MONITORING else None
    saying = _Saying(
        status=status,
        body=body,
        components={row.component: ComponentStatus.OPERATIONAL for row in mine},
        text=_Text("", "", "", template),
    )
    _speak(
        incident.page,
        incident,
        saying,
        mine[0],
        due=now,
        now=now,
        taken_back=core.taken_back(incident),
    )
    if incident.status in FINAL:
        for row in mine:
            _part(row)
