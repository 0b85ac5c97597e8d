"""Alerts of other systems become drafts, by the `alerts` rules of site.yaml."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from desk.models import FINGERPRINT_CHARS_MAX, AlertRule, IntakeAlert
from incidents import reads, services
from incidents.lifecycle import OPEN, CallReason, ComponentStatus, Impact, Status
from incidents.models import NAME_CHARS_MAX, Incident, Page
from probes import verdict
from probes.verdict import Publish

ACTOR = "intake"
NAME_OF_UNKNOWN = "An alert came in that no rule knows"
# What an alert means for its component when its template says how much it hurts.
_STATUS = {
    Impact.MINOR: ComponentStatus.DEGRADED_PERFORMANCE,
    Impact.MAJOR: ComponentStatus.PARTIAL_OUTAGE,
    Impact.CRITICAL: ComponentStatus.MAJOR_OUTAGE,
}


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


def take_in(alerts: Sequence[Alert], *, now: datetime) -> int:
    """Act on each alert once; return how many were new."""
    return sum(_take(alert, now) for alert in alerts)


@transaction.atomic
def _take(alert: Alert, now: datetime) -> bool:
    """Under the page's lock: two senders of the same alert make one draft."""
    page = Page.objects.select_for_update().get(pk=reads.the_page().pk)
    row = IntakeAlert.objects.filter(
        source=alert.source, fingerprint=alert.fingerprint, ended_at__isnull=True
    ).first()
    if alert.is_over:
        if row:
            _end(row, now)
        return False
    if row:
        IntakeAlert.objects.filter(pk=row.pk).update(seen_at=now)
        return False
    incident = _act(page, alert, now)
    IntakeAlert.objects.create(
        source=alert.source, fingerprint=alert.fingerprint, labels=dict(alert.labels), summary=alert.summary,
        incident=incident, received_at=now, seen_at=now,
    )  # fmt: skip
    return True


def _end(row: IntakeAlert, now: datetime) -> None:
    """Note the end; a draft whose alerts are all over does not go out any more."""
    IntakeAlert.objects.filter(pk=row.pk).update(ended_at=now)
    draft = row.incident
    if draft is None or draft.published_at or draft.vetoed_at or draft.source.get("from") != ACTOR:
        return
    if not draft.alerts.filter(ended_at__isnull=True).exists():
        services.veto(draft, actor=ACTOR, now=now)


def _act(page: Page, alert: Alert, now: datetime) -> Incident | None:
    rule = next(
        (
            each
            for each in AlertRule.objects.select_related("component", "template")
            if _fits(each, alert)
        ),
        None,
    )
    if rule is None:
        incident = services.declare(
            page=page, name=NAME_OF_UNKNOWN, body=alert.summary or _listed(alert.labels), published=False, actor=ACTOR,
            source={"from": ACTOR, "labels": dict(alert.labels)}, now=now,
        )  # fmt: skip
        _call(page, alert, incident, CallReason.DRAFT_WAITS, now)
        return incident
    if rule.publish == Publish.NOTIFY:
        _call(page, alert, None, CallReason.PROBLEM, now)
        return None
    incident = _draft(page, rule, alert, now)
    _call(page, alert, incident, CallReason.DRAFT_WAITS, now)
    return incident


def _fits(rule: AlertRule, alert: Alert) -> bool:
    return all(alert.labels.get(name) == value for name, value in rule.match.items())


def _draft(page: Page, rule: AlertRule, alert: Alert, now: datetime) -> Incident:
    """One automatic incident a page: what is open already is widened."""
    deadline = verdict.deadline(
        Publish(rule.publish),
        now,
        veto_s=rule.veto_s,
        publish_after_s=rule.publish_after_s,
        night=None,
    )
    status = _status(rule)
    there = Incident.objects.filter(
        page=page, automatic=True, vetoed_at__isnull=True, status__in=OPEN
    ).first()
    if there is None:
        return _new_draft(page, rule, alert, status=status, deadline=deadline, now=now)
    if there.published_at is None:
        earliest = min((at for at in (there.publish_at, deadline) if at), default=None)
        services.add_to_draft(
            there, components={rule.component: status}, publish_at=earliest, now=now
        )
    elif not there.affected.filter(component=rule.component).exists():
        services.draft_update(
            there, status=Status(there.status), body=_body(rule, alert), components={rule.component: status},
            publish_at=deadline, actor=ACTOR, now=now,
        )  # fmt: skip
    return there


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
    promise_s = template.next_update_in_s if template else None
    return services.declare(
        page=page,
        name=template.name if template else f"{rule.component.name}: something is wrong",
        body=_body(rule, alert),
        what_to_do=template.what_to_do if template else "",
        components={rule.component: status},
        impact=Impact(template.impact) if template and template.impact else None,
        template=template,
        published=False,
        publish_at=deadline,
        next_update_by=(deadline or now) + timedelta(seconds=promise_s) if promise_s else None,
        automatic=True,
        source={"from": ACTOR, "labels": dict(alert.labels)},
        actor=ACTOR,
        now=now,
    )


def _body(rule: AlertRule, alert: Alert) -> str:
    return rule.template.body if rule.template else alert.summary or "We are investigating."


def _status(rule: AlertRule) -> ComponentStatus:
    impact = rule.template.impact if rule.template else ""
    return (
        _STATUS.get(Impact(impact), ComponentStatus.MAJOR_OUTAGE)
        if impact
        else ComponentStatus.MAJOR_OUTAGE
    )


def _call(
    page: Page, alert: Alert, incident: Incident | None, reason: CallReason, now: datetime
) -> None:
    services.call_operators(
        page=page, reason=reason, text=alert.summary or _listed(alert.labels), incident=incident, now=now,
        key=f"alert:{alert.source}:{fingerprint(alert.labels, alert.fingerprint)[:64]}:{now:%Y%m%d%H%M%S}",
    )  # fmt: skip


def _listed(labels: Mapping[str, str]) -> str:
    return (
        ", ".join(f"{name}: {value}" for name, value in sorted(labels.items()))[:NAME_CHARS_MAX]
        or "An alert."
    )
