"""Alerts of other systems become drafts, by the `alerts` rules of site.yaml."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q, QuerySet

from desk.models import FINGERPRINT_CHARS_MAX, AlertRule, IntakeAlert
from incidents import reads, services
from incidents.lifecycle import OPEN, CallReason, ComponentStatus, Impact, Status, worst
from incidents.models import NAME_CHARS_MAX, AuditEntry, Component, Incident, Page, Update
from probes import verdict
from probes.acting import LEFT_TO_ALERTS
from probes.verdict import Publish

ACTOR = "intake"
OVER = "This is resolved: the alerts behind it are over."
LISTED_MAX = 10  # alerts named in a text; the rest is a number
LOOK_UP_MAX = 500  # fingerprints in one query: SQLite takes few more variables
AMONG_PEOPLE = timedelta(seconds=300)  # contract.md, "Machine and people"
REOPEN_WITHIN = timedelta(seconds=21_600)  # contract.md: the verdict's own reopen_within_s
WAITS_FOR_CHECKS = (
    "waits_for_checks"  # in a source: its alerts are over, the checks' way back ends it
)
NAME_OF_UNKNOWN = "An alert came in that no rule knows"
# What an alert means for its component when its template says how much it hurts.
_STATUS = {
    Impact.MINOR: ComponentStatus.DEGRADED_PERFORMANCE,
    Impact.MAJOR: ComponentStatus.PARTIAL_OUTAGE,
    Impact.CRITICAL: ComponentStatus.MAJOR_OUTAGE,
}
_GRAVITY = tuple(_STATUS.values())


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert as its sender told it."""

    source: str
    fingerprint: str
    labels: Mapping[str, str]
    summary: str
    is_over: bool


def fingerprint(labels: Mapping[str, str], given: str = "") -> str:
    """Return what tells an alert from another: the sender's word, or a hash of its labels."""
    if given and len(given) <= FINGERPRINT_CHARS_MAX:
        return given
    return hashlib.sha256((given or json.dumps(dict(labels), sort_keys=True)).encode()).hexdigest()


@transaction.atomic
def take_in(alerts: Sequence[Alert], *, now: datetime) -> int:
    """Act on what is new among the alerts, once; return how many were.

    Under the page's lock: two senders of the same alert make one draft. A storm is one incident and one
    call, however many alerts it has.
    """
    page = Page.objects.select_for_update().get(pk=reads.the_page().pk)
    given = {(alert.source, alert.fingerprint): alert for alert in alerts}  # the last word counts
    there = _open(given)
    _end([there[key] for key, alert in given.items() if alert.is_over and key in there], now)
    still = [there[key].pk for key, alert in given.items() if not alert.is_over and key in there]
    IntakeAlert.objects.filter(pk__in=still).update(seen_at=now)
    new = [alert for key, alert in given.items() if not alert.is_over and key not in there]
    by_rule: dict[AlertRule | None, list[Alert]] = {}
    rules = list(AlertRule.objects.select_related("component", "template"))
    for alert in new:
        by_rule.setdefault(_rule_for(rules, alert.labels), []).append(alert)
    for rule, of_rule in by_rule.items():
        incident = _act(page, rule, of_rule, now)
        IntakeAlert.objects.bulk_create(
            IntakeAlert(
                source=alert.source, fingerprint=alert.fingerprint, labels=dict(alert.labels), summary=alert.summary,
                incident=incident, received_at=now, seen_at=now,
            )
            for alert in of_rule
        )  # fmt: skip
    return len(new)


@transaction.atomic
def tick(now: datetime) -> None:
    """Go on with what the checks have left: one was switched off, or found that it works."""
    left = Incident.objects.filter(
        Q(source__has_key=LEFT_TO_ALERTS) | Q(source__has_key=WAITS_FOR_CHECKS),
        automatic=True, vetoed_at__isnull=True, status__in=OPEN, verdicts__isnull=True,
    )  # fmt: skip
    if not left.exists():
        return
    Page.objects.select_for_update().get(pk=reads.the_page().pk)
    for incident in left:
        if not incident.alerts.filter(ended_at__isnull=True).exists():
            _over(incident, now)
        elif LEFT_TO_ALERTS in incident.source:
            _take_over(incident, now)


def _take_over(incident: Incident, now: datetime) -> None:
    """What the checks are done with tells what its alerts tell, and goes out when their rules want it."""
    still = _still(incident)
    source = {name: value for name, value in incident.source.items() if name != LEFT_TO_ALERTS}
    is_ours = source.get("from") == ACTOR
    if not still or incident.published_at:
        Incident.objects.filter(pk=incident.pk).update(source=source | {"from": ACTOR})
        return
    told: dict[Component, ComponentStatus] = {}
    for rule in still:
        told[rule.component] = worst(
            [_status(rule), told.get(rule.component, ComponentStatus.OPERATIONAL)]
        )
    rule, alert = max(still.items(), key=lambda each: _GRAVITY.index(_status(each[0])))
    dues = [_deadline(each, came.received_at) for each, came in still.items()]
    due = min((at for at in dues if at), default=None)
    words: dict[str, Any] = {"source": source}
    if not is_ours:
        words = _words(rule, alert, due or now) | {
            "impact_override": rule.template.impact if rule.template else "",
            "source": {"from": ACTOR, **_origin(rule, alert)},
        }
    incident.affected.exclude(component__in=list(told)).delete()
    services.add_to_draft(incident, components=told, now=now, **words)
    services.move_deadline(incident, publish_at=due, actor=ACTOR, now=now)


def _open(given: Mapping[tuple[str, str], Alert]) -> dict[tuple[str, str], IntakeAlert]:
    """Return the alerts among these that came before and are not over."""
    prints = sorted({fingerprint for _, fingerprint in given})
    found: dict[tuple[str, str], IntakeAlert] = {}
    for start in range(0, len(prints), LOOK_UP_MAX):
        rows = IntakeAlert.objects.filter(
            fingerprint__in=prints[start : start + LOOK_UP_MAX], ended_at__isnull=True
        )
        found |= {(row.source, row.fingerprint): row for row in rows.select_related("incident")}
    return found


def _end(rows: Sequence[IntakeAlert], now: datetime) -> None:
    """Note the ends; what is over and was not said is not; an incident whose alerts are all over is over too."""
    IntakeAlert.objects.filter(pk__in=[row.pk for row in rows]).update(ended_at=now)
    touched = {row.incident_id: row.incident for row in rows if row.incident}
    for incident in touched.values():
        if incident.published_at:
            _withdraw_passed(incident, now)
        ours = incident.source.get("from") == ACTOR and not incident.vetoed_at
        if ours and not incident.alerts.filter(ended_at__isnull=True).exists():
            _over(incident, now)


def _withdraw_passed(incident: Incident, now: datetime) -> None:
    """Take back what we drafted of trouble that no alert tells of any more, unless a check sees it."""
    waiting = list(_waiting(incident))
    if not waiting:
        return
    entries = AuditEntry.objects.filter(
        subject=incident.uid, action="draft_update", actor=ACTOR, after__has_key="update"
    )
    ours = {entry.after["update"] for entry in entries}
    still = _still(incident)
    told: dict[str, set[ComponentStatus]] = {}
    for rule in still:
        told.setdefault(rule.component.uid, set()).add(_status(rule))
    failing = incident.verdicts.filter(clean_since__isnull=True)
    seen = set(failing.values_list("component__uid", flat=True))
    gone: set[str] = set()
    for draft in (draft for draft in waiting if draft.uid in ours):
        troubles = _troubles(draft).items()
        passed = [uid for uid, state in troubles if _is_worse(state, worst(told.get(uid, ())))]
        if passed and not seen.intersection(passed):
            services.veto(draft, actor=ACTOR, now=now)
            gone.update(uid for uid, _ in troubles)
    if incident.status in OPEN:
        _draft_the_rest(
            incident,
            {rule: alert for rule, alert in still.items() if rule.component.uid in gone},
            now,
        )


def _draft_the_rest(
    incident: Incident, still: Mapping[AlertRule, IntakeAlert], now: datetime
) -> None:
    """Say what a withdrawn draft told besides: the gravest first, each when its own rule wants it."""
    for rule, alert in sorted(
        still.items(), key=lambda each: _GRAVITY.index(_status(each[0])), reverse=True
    ):
        deadline = _deadline(rule, alert.received_at)
        if _is_news(incident, rule.component, _status(rule), deadline):
            _follow_up(incident, rule, alert, deadline, now)


def _still(incident: Incident) -> dict[AlertRule, IntakeAlert]:
    """Return the rules of the incident's alerts that are not over, each with its first alert."""
    rules = list(AlertRule.objects.select_related("component", "template"))
    still: dict[AlertRule, IntakeAlert] = {}
    for alert in incident.alerts.filter(ended_at__isnull=True).order_by("received_at", "id"):
        rule = _rule_for(rules, alert.labels)
        if rule:
            still.setdefault(rule, alert)
    return still


def _over(incident: Incident, now: datetime) -> None:
    """A draft does not go out; what is out is resolved as its rule says, by a person if one has spoken in it.

    Where checks speak in it as well, their way back ends it: no alert knows whether they are clean.
    """
    notes = (LEFT_TO_ALERTS, WAITS_FOR_CHECKS)
    source = {name: value for name, value in incident.source.items() if name not in notes}
    source |= {"over_at": now.isoformat()}
    is_seen = incident.verdicts.exists()
    if is_seen:
        source |= {WAITS_FOR_CHECKS: True}
    Incident.objects.filter(pk=incident.pk).update(source=source)
    if is_seen:
        return
    if incident.published_at is None:
        services.veto(incident, actor=ACTOR, now=now)
        return
    if incident.status not in OPEN:
        return
    said: dict[str, Any] = {"status": Status.RESOLVED, "body": OVER, "actor": ACTOR, "now": now}
    is_auto = incident.source.get("publish") == Publish.AUTO
    if is_auto and not incident.person_posted:
        services.publish_update(incident, automatic=True, **said)
    elif not _is_unwanted(incident):
        due = now + AMONG_PEOPLE if is_auto else None
        services.draft_update(incident, publish_at=due, **said)


def _is_unwanted(incident: Incident) -> bool:
    """Say whether a person vetoed the all-clear; that holds until the machine has said something newer."""
    said = incident.updates.filter(automatic=True, number__isnull=False)
    since = said.order_by("-number").values_list("published_at", flat=True).first()
    vetoed = incident.updates.filter(
        automatic=True, number__isnull=True, status=Status.RESOLVED, vetoed_at__isnull=False
    )
    if since is not None:
        vetoed = vetoed.filter(vetoed_at__gte=since)
    return vetoed.exclude(uid__in=services.taken_back(incident)).exists()


def _waiting(incident: Incident) -> QuerySet[Update]:
    """Return the machine's follow-ups that neither went out nor were vetoed."""
    return incident.updates.filter(automatic=True, number__isnull=True, vetoed_at__isnull=True)


def _troubles(draft: Update) -> dict[str, ComponentStatus]:
    """Return how a follow-up says the components (uids) are that do not work as they should."""
    states = {row["code"]: ComponentStatus(row["new_status"]) for row in draft.changes}
    return {uid: state for uid, state in states.items() if state is not ComponentStatus.OPERATIONAL}


def _withdraw_all_clears(incident: Incident, now: datetime) -> None:
    """It is not over after all: what was drafted of that must not go out."""
    for draft in _waiting(incident).filter(status__in=(Status.MONITORING, Status.RESOLVED)):
        if not _troubles(draft):
            services.veto(draft, actor=ACTOR, now=now)


def _act(
    page: Page, rule: AlertRule | None, alerts: Sequence[Alert], now: datetime
) -> Incident | None:
    """Do what the rule says of these alerts, all at once; return the incident they belong to."""
    text = _text(alerts)
    if rule is None:
        incident = _unknown(page, alerts, now)
        _call(page, text, CallReason.DRAFT_WAITS, f"{incident.uid}:unknown", incident, now)
        return incident
    if rule.publish == Publish.NOTIFY:
        # A storm calls once a minute; who sleeps through one call does not hear the tenth thousandth.
        key = f"rule-{rule.position}:{alerts[0].fingerprint[:64]}:{now:%Y%m%d%H%M}"
        _call(page, text, CallReason.PROBLEM, key, None, now)
        return None
    incident = _draft(page, rule, alerts, now)
    key = f"{incident.uid}:{rule.position}:{incident.updates.count()}"
    _call(page, text, CallReason.DRAFT_WAITS, key, incident, now)
    return incident


def _unknown(page: Page, alerts: Sequence[Alert], now: datetime) -> Incident:
    """One draft holds all alerts that no rule knows, until a person has dealt with it."""
    there = Incident.objects.filter(
        page=page, published_at__isnull=True, vetoed_at__isnull=True, source__from=ACTOR, source__rule=None,
        automatic=False,
    ).first()  # fmt: skip
    if there is None:
        return services.declare(
            page=page, name=NAME_OF_UNKNOWN, body=_text(alerts), published=False, actor=ACTOR,
            source={"from": ACTOR, "rule": None, "labels": dict(alerts[0].labels)}, now=now,
        )  # fmt: skip
    said = there.updates.order_by("id").values_list("body", flat=True).first() or ""
    if said.count("\n") < LISTED_MAX:
        services.add_to_draft(there, components={}, body=f"{said}\n{_text(alerts)}", now=now)
    return there


def _text(alerts: Sequence[Alert]) -> str:
    """Return what the alerts say, the first few of them."""
    said = list(dict.fromkeys(alert.summary or _listed(alert.labels) for alert in alerts))
    more = len(alerts) - LISTED_MAX
    return "\n".join([*said[:LISTED_MAX], *([f"and {more:,} more alerts"] if more > 0 else [])])


def _rule_for(rules: Sequence[AlertRule], labels: Mapping[str, str]) -> AlertRule | None:
    """Return the first rule that fits."""
    return next((rule for rule in rules if _fits(rule, labels)), None)


def _fits(rule: AlertRule, labels: Mapping[str, str]) -> bool:
    return all(labels.get(name) == value for name, value in rule.match.items())


def _draft(page: Page, rule: AlertRule, alerts: Sequence[Alert], now: datetime) -> Incident:
    """One automatic incident a page: what is open already is widened, what came back is taken up again."""
    deadline = _deadline(rule, now)
    status = _status(rule)
    there = Incident.objects.filter(
        page=page, automatic=True, vetoed_at__isnull=True, status__in=OPEN
    ).first()
    if there is None:
        return _again(page, rule, alerts, deadline, now) or _new_draft(
            page, rule, alerts[0], status=status, deadline=deadline, now=now
        )
    if there.published_at is None:
        _widen(there, rule, alerts[0], deadline=deadline, now=now)
        return there
    _withdraw_all_clears(there, now)
    if _is_news(there, rule.component, status, deadline):
        _follow_up(there, rule, alerts[0], deadline, now)
    return there


def _deadline(rule: AlertRule, came: datetime) -> datetime | None:
    """Return when what the rule says of an alert that came then goes out by itself."""
    return verdict.deadline(
        Publish(rule.publish), came, veto_s=rule.veto_s, publish_after_s=rule.publish_after_s, night=None
    )  # fmt: skip


def _follow_up(
    incident: Incident, rule: AlertRule, alert: Alert | IntakeAlert, deadline: datetime | None, now: datetime
) -> None:  # fmt: skip
    services.draft_update(
        incident, status=Status(incident.status), body=_body(rule, alert), components={rule.component: _status(rule)},
        publish_at=deadline, actor=ACTOR, now=now,
    )  # fmt: skip


def _widen(
    draft: Incident, rule: AlertRule, alert: Alert, *, deadline: datetime | None, now: datetime
) -> None:
    """Add an alert to a draft: the earliest deadline, the words of the gravest."""
    status = _status(rule)
    said = {row.component_id: ComponentStatus(row.status) for row in draft.affected.all()}
    there = said.get(rule.component.pk, ComponentStatus.OPERATIONAL)
    words: dict[str, Any] = {}
    if _is_worse(status, worst(said.values())):
        words = _words(rule, alert, deadline or now) | {
            "impact_override": rule.template.impact if rule.template else "",
            "source": draft.source | _origin(rule, alert),
        }
    earliest = min((at for at in (draft.publish_at, deadline) if at), default=None)
    services.add_to_draft(
        draft, components={rule.component: worst([there, status])}, publish_at=earliest, now=now, **words
    )  # fmt: skip


def _is_news(
    incident: Incident, component: Component, status: ComponentStatus, deadline: datetime | None
) -> bool:
    """Say whether neither what is out nor what goes out no later tells as much of the component."""
    said = [ComponentStatus(row.status) for row in incident.affected.filter(component=component)]
    for draft in _waiting(incident):
        if deadline is None or (draft.publish_at and draft.publish_at <= deadline):
            said.append(_troubles(draft).get(component.uid, ComponentStatus.OPERATIONAL))
    return _is_worse(status, worst(said))


def _is_worse(new: ComponentStatus, old: ComponentStatus) -> bool:
    return new != old and worst([new, old]) == new


def _again(
    page: Page, rule: AlertRule, alerts: Sequence[Alert], deadline: datetime | None, now: datetime
) -> Incident | None:
    """Take up the incident whose alerts ended a while ago: the same trouble is back, under the same id."""
    rows = Incident.objects.filter(
        page=page, automatic=True, retracted_at__isnull=True, source__from=ACTOR, updated_at__gt=now - REOPEN_WITHIN,
        affected__component=rule.component,
    )  # fmt: skip
    back = rows.order_by("-updated_at").first()
    if back is None or "over_at" not in back.source:
        return None
    if back.published_at is None:
        vetoes = AuditEntry.objects.filter(subject=back.uid, action="veto").order_by("-id")
        if vetoes.values_list("actor", flat=True).first() not in services.MACHINES:
            return None
        services.revive(back, publish_at=deadline, actor=ACTOR, now=now)
        back.refresh_from_db()
        _widen(back, rule, alerts[0], deadline=deadline, now=now)
        return back
    if back.status != Status.RESOLVED or rule.publish != Publish.AUTO:
        return None
    _withdraw_all_clears(back, now)
    services.reopen(
        back, body=_body(rule, alerts[0]), components={rule.component: _status(rule)}, automatic=True, actor=ACTOR, now=now
    )  # fmt: skip
    return back


def _new_draft(
    page: Page,
    rule: AlertRule,
    alert: Alert,
    *,
    status: ComponentStatus,
    deadline: datetime | None,
    now: datetime,
) -> Incident:
    template = rule.template
    return services.declare(
        page=page,
        components={rule.component: status},
        impact=Impact(template.impact) if template and template.impact else None,
        published=False,
        publish_at=deadline,
        automatic=True,
        source={"from": ACTOR, **_origin(rule, alert)},
        actor=ACTOR,
        now=now,
        **_words(rule, alert, deadline or now),
    )


def _words(rule: AlertRule, alert: Alert | IntakeAlert, at: datetime) -> dict[str, Any]:
    """Return what a draft says by this rule when it goes out at this time."""
    template = rule.template
    promise_s = template.next_update_in_s if template else None
    return {
        "name": template.name if template else f"{rule.component.name}: something is wrong",
        "body": _body(rule, alert),
        "what_to_do": template.what_to_do if template else "",
        "translations": template.translations if template else {},
        "template": template,
        "next_update_by": at + timedelta(seconds=promise_s) if promise_s else None,
    }


def _origin(rule: AlertRule, alert: Alert | IntakeAlert) -> dict[str, Any]:
    return {"rule": rule.position, "publish": rule.publish, "labels": dict(alert.labels)}


def _body(rule: AlertRule, alert: Alert | IntakeAlert) -> str:
    return rule.template.body if rule.template else alert.summary or "We are investigating."


def _status(rule: AlertRule) -> ComponentStatus:
    impact = rule.template.impact if rule.template else ""
    return (
        _STATUS.get(Impact(impact), ComponentStatus.MAJOR_OUTAGE)
        if impact
        else ComponentStatus.MAJOR_OUTAGE
    )


def _call(
    page: Page, text: str, reason: CallReason, key: str, incident: Incident | None, now: datetime
) -> None:
    services.call_operators(
        page=page, reason=reason, text=text, incident=incident, now=now, key=f"alert:{key}"
    )


def _listed(labels: Mapping[str, str]) -> str:
    return (
        ", ".join(f"{name}: {value}" for name, value in sorted(labels.items())).strip()[
            :NAME_CHARS_MAX
        ]
        or "An alert."
    )
