"""Is this person allowed: roles as permissions, the second factor, and how long ago they proved who they are."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Concatenate, ParamSpec
from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.backends import BaseBackend
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from desk import roles, saved
from desk.roles import Right

STEP_UP = timedelta(minutes=15)  # security.md, "Admin": step-up for "everyone"
LOGIN = "/admin/login/"
# Nothing from elsewhere, nothing inline: security.md, "XSS/markup".
CSP = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "font-src 'self'; frame-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]


class RoleBackend(BaseBackend):
    """Groups named as roles give rights; django.contrib.auth's own permissions go on to count beside them."""

    def has_perm(self, user_obj: Any, perm: str, obj: Any = None) -> bool:  # Any: Django's
        return user_obj.is_active and obj is None and roles.allows(rights_of(user_obj), perm)

    def has_module_perms(self, user_obj: Any, app_label: str) -> bool:  # Any: Django's
        return user_obj.is_active and roles.allows(rights_of(user_obj), f"{app_label}.view_any")


def rights_of(user: Any) -> frozenset[Right]:  # Any: a user, or nobody
    """Return the rights of a person, read once for each request."""
    if not user.is_authenticated or not user.is_active:
        return frozenset()
    if user.is_superuser:
        return frozenset(Right)
    held: frozenset[Right] | None = getattr(user, "_desk_rights", None)
    if held is None:
        held = roles.rights(user.groups.values_list("name", flat=True))
        user._desk_rights = held
    return held


def allowed(right: Right) -> Callable[[View[P]], View[P]]:
    """Let in who has the right, under the strict policy; others are told what, why, and what would be allowed."""

    def guard(view: View[P]) -> View[P]:
        def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            response = _refusal(request, right) or view(request, *args, **kwargs)
            response.headers.setdefault("Content-Security-Policy", CSP)
            return response

        guarded.is_button = getattr(view, "is_button", False)  # type: ignore[attr-defined]  # as button() says
        return never_cache(guarded)

    return guard


def button(view: Callable[P, HttpResponseBase]) -> Callable[P, HttpResponseBase]:
    """Take POST only, and know it: whoever has to log in first comes back to a page, and presses again."""
    pressed = require_POST(view)
    pressed.is_button = True  # type: ignore[attr-defined]  # read by saved.way_back()
    return pressed


def _refusal(request: HttpRequest, right: Right) -> HttpResponse | None:
    if not request.user.is_authenticated:
        return to_login(request)
    if right in rights_of(request.user):
        return None
    return forbidden(request, right)


def to_login(request: HttpRequest) -> HttpResponse:
    """Ask who it is; what was typed waits until they are in."""
    saved.hold(request)
    if request.headers.get("HX-Request"):
        return HttpResponse(status=401)
    back = request.get_full_path() if request.method == "GET" else _way_back(request)
    return redirect(f"{LOGIN}?{urlencode({'next': back})}")


def _way_back(request: HttpRequest) -> str:
    back = saved.way_back(request.path)
    if back == saved.DESK != request.path:
        messages.warning(request, "Nothing was done yet: press the button once more.")
    return back


def forbidden(request: HttpRequest, right: Right) -> HttpResponse:
    shown = standing(request) | {"what": roles.WORDS[right], "who_may": roles.who_may(right)}
    return render(request, "desk/forbidden.html", shown, status=403)


def standing(request: HttpRequest) -> dict[str, list[str]]:
    """Return which roles this person has and what those allow, for a refusal."""
    user, mine = request.user, rights_of(request.user)
    names = sorted(user.groups.values_list("name", flat=True)) if user.is_authenticated else []
    if user.is_authenticated and user.is_superuser:
        names.append("superuser")
    return {
        "roles": names,
        "allowed": [roles.WORDS[each] for each in Right if each in mine],
    }


def user_of(request: HttpRequest) -> User:
    """Return who is logged in, where allowed() has let them in."""
    assert isinstance(request.user, User), "a view under allowed() has a user"
    return request.user


def may_enter(request: HttpRequest) -> bool:
    """Say whether the records are open to this person at all."""
    return bool(request.user.is_active and Right.SEE in rights_of(request.user))


# --- to speak to everyone ---------------------------------------------------------------------------------------------


def before_everyone(request: HttpRequest, *, now: datetime) -> HttpResponse | None:
    """Return what must come first before this person may speak to everyone; None when nothing must."""
    lacks_factor = (
        settings.DESK_MFA
        and not is_break_glass(request.user)
        and not has_second_factor(request.user)
    )
    if not lacks_factor and is_fresh(request, now=now):
        return None
    back = urlencode({"next": _way_back(request)})
    if lacks_factor:
        url = reverse("mfa_index")
        return render(request, "desk/second_factor.html", {"url": url, "back": back}, status=403)
    name = "mfa_reauthenticate" if has_second_factor(request.user) else "account_reauthenticate"
    return redirect(f"{reverse(name)}?{back}")


def has_second_factor(user: AbstractBaseUser | AnonymousUser) -> bool:
    from allauth.mfa.utils import is_mfa_enabled

    return bool(user.is_authenticated and is_mfa_enabled(user))


def is_fresh(request: HttpRequest, *, now: datetime) -> bool:
    """Say whether this session proved who it is within STEP_UP."""
    proofs = request.session.get("account_authentication_methods", [])
    newest = max((proof.get("at", 0.0) for proof in proofs), default=0.0)
    return now - datetime.fromtimestamp(newest, UTC) <= STEP_UP


def is_break_glass(user: Any) -> bool:  # Any: a user, or nobody
    return getattr(user, "break_glass", None) is not None
