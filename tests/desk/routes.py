"""Every address of the desk and the records, who may ask for it, and one of everything that an address can name."""

from datetime import timedelta
from typing import Any

from django.utils import timezone

from desk.roles import Role
from incidents import recurring, services
from incidents.lifecycle import Status
from incidents.models import Template
from notifications import outbox
from notifications.models import Broadcast
from probes.models import Check
from tests import world

LETTERS = {
    "v": Role.VIEWER, "r": Role.RESPONDER, "p": Role.PUBLISHER, "k": Role.RULE_KEEPER, "o": Role.OWNER,
}  # fmt: skip
ALL = "vrpko"

# Method, address, the roles that may: v viewer, r responder, p publisher, k rule-keeper, o owner.
DESK = [
    ("GET", "/desk/", ALL),
    ("GET", "/desk/incidents/{open}/", ALL),
    ("GET", "/desk/checks/", ALL),
    ("GET", "/desk/checks/{check}", ALL),
    ("GET", "/desk/checks/{check}/replay", ALL),
    ("POST", "/desk/checks/{check}/try", "rpko"),
    ("GET", "/desk/reports/", ALL),
    ("GET", "/desk/reports/report.csv", ALL),
    ("GET", "/desk/reports/report.json", ALL),
    ("GET", "/desk/broadcasts/{broadcast}.csv", ALL),
    ("GET", "/desk/audit.csv", "o"),
    ("GET", "/desk/declare", "rpo"),
    ("POST", "/desk/declare", "rpo"),  # an unfinished form: shown again, nothing done
    ("POST", "/desk/declare/keep", "rpo"),
    ("POST", "/desk/declare/clear", "rpo"),
    ("GET", "/desk/schedule", "rpo"),
    ("GET", "/desk/backfill", "rpo"),
    ("GET", "/desk/incidents/{open}/update", "rpo"),
    ("POST", "/desk/incidents/{open}/update/keep", "rpo"),
    ("POST", "/desk/incidents/{open}/update/clear", "rpo"),
    ("GET", "/desk/incidents/{draft}/publish", "rpo"),
    ("GET", "/desk/incidents/{open}/retract", "rpo"),
    ("GET", "/desk/incidents/{over}/reopen", "rpo"),
    ("GET", "/desk/look/email?of=declare:", "rpo"),
    ("GET", "/desk/look/page?of=declare:", "rpo"),
    ("GET", "/desk/look/banner?of=declare:", "rpo"),
    ("POST", "/desk/drafts/{draft}/publish", "po"),
    ("POST", "/desk/drafts/{draft}/veto", "rpo"),
    ("POST", "/desk/follow-ups/{follow_up}/publish", "po"),
    ("POST", "/desk/follow-ups/{follow_up}/veto", "rpo"),
    ("POST", "/desk/updates/{calling}/agree", "po"),
    ("POST", "/desk/broadcasts/{broadcast}/halt", "rpo"),
    ("POST", "/desk/broadcasts/{broadcast}/retry", "po"),
    ("POST", "/desk/incidents/{open}/merge", "po"),
    ("GET", "/desk/incidents/{over}/postmortem", "po"),
    ("POST", "/desk/incidents/{over}/postmortem", "po"),
    ("POST", "/desk/series/{series}/end", "po"),
]
RECORDS = ("incidents_incident", "incidents_update", "incidents_component", "incidents_group", "incidents_template",
            "incidents_page", "incidents_series", "incidents_auditentry", "incidents_auditseal", "incidents_call",
            "incidents_statuschange", "subscribers_subscription", "notifications_broadcast", "notifications_delivery",
            "probes_check", "probes_location", "probes_policy", "probes_currentverdict", "probes_verdictchange",
            "desk_alertrule", "desk_intakealert", "desk_drill", "public_problemreport")  # fmt: skip
SECRETS = ("desk_apikey", "desk_breakglass", "auth_user", "auth_group")
ADMIN = [
    ("GET", "/admin/", ALL),
    *(("GET", f"/admin/{name.replace('_', '/', 1)}/", ALL) for name in RECORDS),
    *(("GET", f"/admin/{name.replace('_', '/', 1)}/", "o") for name in SECRETS),
    ("GET", "/admin/incidents/incident/add/", "rpo"),
    ("GET", "/admin/incidents/incident/schedule/", "rpo"),
    ("GET", "/admin/incidents/incident/{open_pk}/update/", "po"),
    ("POST", "/admin/incidents/incident/{open_pk}/retract/", "po"),
    ("POST", "/admin/incidents/incident/{draft_pk}/veto/", "po"),
    ("GET", "/admin/incidents/component/add/", "ko"),
    ("GET", "/admin/incidents/group/add/", "ko"),
    ("GET", "/admin/incidents/template/add/", "ko"),
    ("POST", "/admin/incidents/component/{component}/change/", "ko"),
    ("POST", "/admin/incidents/template/{template}/delete/", "ko"),
    ("POST", "/admin/incidents/template/{template}/change/", "ko"),
    ("POST", "/admin/incidents/update/{update}/change/", "po"),
    ("GET", "/admin/auth/user/add/", "o"),
]


def make_names() -> dict[str, Any]:
    """One of everything that an address can name."""
    page, now = world.page(), timezone.now()
    follow = world.component()
    opened = world.incident(follow)
    over = world.incident(world.component("login"), name="Over")
    services.publish_update(over, status=Status.RESOLVED, body="Over.", actor="ann", now=now)
    draft = world.incident(world.component("site"), published=False)
    follow_up = services.draft_update(
        opened, status=Status.MONITORING, body="Better.", actor="probes", now=now, publish_at=None
    )
    check = Check.objects.create(
        page=page, slug="journey", kind="http", interval_s=30, timeout_s=5, locations=["local"]
    )
    template = Template.objects.create(page=page, slug="down", name="Down", body="We look.")
    series = recurring.begin(
        page=page, name="Weekly", body="x", rule="FREQ=WEEKLY", starts_at=now, duration=timedelta(hours=1),
        actor="ann", now=now,
    )  # fmt: skip
    outbox.open_entries(now)
    broadcast = Broadcast.objects.filter(incident=opened).get()
    return {
        "open": opened.uid, "open_pk": opened.pk, "over": over.uid, "draft": draft.uid, "draft_pk": draft.pk,
        "calling": opened.updates.get(number=1).uid,
        "follow_up": follow_up.uid, "check": check.slug, "template": template.pk, "series": series.uid,
        "broadcast": broadcast.pk, "component": follow.pk, "update": opened.updates.filter(number=1).get().pk,
    }  # fmt: skip
