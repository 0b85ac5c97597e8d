"""Ids of /v1 to rows, or a 404 in words."""

from collections.abc import Iterable

from django.http import Http404

from incidents import reads
from incidents.lifecycle import Refused
from incidents.models import Component, Group, Incident, Page

COMPONENTS_MAX = 1_000  # named in one request


def page(uid: str) -> Page:
    found = reads.the_page()
    if found.uid != uid:
        raise Http404(f'there is no page "{uid}"')
    return found


def component(page: Page, uid: str) -> Component:
    found = Component.objects.select_related("group").filter(page=page, uid=uid).first()
    if found is None:
        raise Http404(f'there is no component "{uid}"')
    return found


def group(page: Page, uid: str) -> Group:
    found = Group.objects.filter(page=page, uid=uid).first()
    if found is None:
        raise Http404(f'there is no component group "{uid}"')
    return found


def named_group(page: Page, uid: str | None, where: str) -> Group | None:
    """Return the group that a body names, None without one; raise Refused naming the field."""
    if not uid:
        return None
    found = Group.objects.filter(page=page, uid=uid).first()
    if found is None:
        raise Refused(f'{where} is "{uid[:40]}"; there is no such component group')
    return found


def incident(page: Page, uid: str) -> Incident:
    """Return a published incident: a draft is invisible here."""
    found = Incident.objects.filter(page=page, uid=uid, published_at__isnull=False).first()
    if found is None:
        raise Http404(f'there is no incident "{uid}"')
    return found


def components(page: Page, uids: Iterable[str]) -> dict[str, Component]:
    """Return the components by id; raise Refused naming those there are not."""
    asked = list(dict.fromkeys(uids))
    if len(asked) > COMPONENTS_MAX:
        raise Refused(f"{len(asked):,} components are named; allowed are {COMPONENTS_MAX:,}")
    found = {
        row.uid: row
        for row in Component.objects.select_related("group").filter(page=page, uid__in=asked)
    }
    missing = [uid for uid in asked if uid not in found]
    if missing:
        raise Refused(f"there is no component {', '.join(missing)[:200]}")
    return found
