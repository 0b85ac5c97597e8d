"""Ids of /v1 to rows, or a 404 in words."""

from collections.abc import Iterable

from django.http import Http404

from incidents import reads
from incidents.lifecycle import Refused
from incidents.models import Component, Group, Incident, Page


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


def incident(page: Page, uid: str) -> Incident:
    """Return a published incident: a draft is invisible here."""
    found = Incident.objects.filter(page=page, uid=uid, published_at__isnull=False).first()
    if found is None:
        raise Http404(f'there is no incident "{uid}"')
    return found


def components(page: Page, uids: Iterable[str]) -> dict[str, Component]:
    """Return the components by id; raise Refused naming those there are not."""
    asked = list(uids)
    found = {row.uid: row for row in Component.objects.filter(page=page, uid__in=asked)}
    missing = [uid for uid in asked if uid not in found]
    if missing:
        raise Refused(f"there is no component {', '.join(missing)}")
    return found
