"""The account for when nobody else can get in: sealed until it is used, and its use calls everybody."""

import secrets
from datetime import datetime

from django.contrib.auth.models import Group, User
from django.db import transaction
from django.http import HttpRequest

from desk.models import BreakGlass
from desk.roles import Role
from incidents import reads, services
from incidents.lifecycle import CallReason

NAME = "break-glass"
PASSWORD_BYTES = 24  # 192 bits: it is its own second factor, on paper in an envelope
SESSION_S = 3600


@transaction.atomic
def seal(*, actor: str, now: datetime) -> str:
    """Make the account, or close it again; return its new password, which is kept nowhere here."""
    password = secrets.token_urlsafe(PASSWORD_BYTES)
    user, _ = User.objects.get_or_create(username=NAME)
    user.set_password(password)
    user.is_active, user.is_staff = True, True
    user.save()
    user.groups.set([Group.objects.get_or_create(name=Role.OWNER.value)[0]])
    BreakGlass.objects.update_or_create(user=user, defaults={"sealed_at": now, "opened_at": None})
    services.audit(actor=actor, action="seal_break_glass", subject=NAME, now=now)
    return password


def opened(request: HttpRequest, user: User, *, now: datetime) -> None:
    """Raise the alarm when it is this account that comes in; its session is short."""
    glass = BreakGlass.objects.filter(user=user).first()
    if glass is None:
        return
    request.session.set_expiry(SESSION_S)
    first = glass.opened_at or now
    BreakGlass.objects.filter(pk=glass.pk, opened_at__isnull=True).update(opened_at=now)
    services.audit(actor=NAME, action="break_glass", subject=NAME, now=now)
    services.call_operators(
        page=reads.the_page(), reason=CallReason.PROBLEM, now=now,
        text=f"The break-glass account was used at {now:%H:%M} UTC. If it was none of you, take its password away now.",
        key=f"break-glass:{first:%Y%m%d%H%M%S}:{now:%Y%m%d%H%M}",
    )  # fmt: skip


def warning() -> str:
    """Return the standing warning: unsealed since it was used, or not there at all."""
    glass = BreakGlass.objects.first()
    if glass is None:
        return ""
    if glass.opened_at:
        return f"The break-glass account was used at {glass.opened_at:%Y-%m-%d %H:%M} UTC and is not sealed again."
    return ""
