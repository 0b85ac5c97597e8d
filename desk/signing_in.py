"""Signing in: by password and second factor, by the single sign-on of others, or by breaking the glass."""

import base64
import hashlib
import logging
from collections.abc import Callable
from typing import Any

import requests
from allauth.account.adapter import DefaultAccountAdapter, get_adapter
from allauth.account.internal.flows import login as flows
from allauth.account.models import Login
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.socialaccount.adapter import DefaultSocialAccountAdapter
from allauth.socialaccount.providers.oauth2.client import OAuth2Error
from allauth.socialaccount.providers.openid_connect import views as oidc
from django.conf import settings
from django.contrib.auth.forms import AuthenticationForm
from django.contrib.auth.models import Group, User
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters

from desk import breakglass, roles
from incidents import services
from subscribers import addresses

log = logging.getLogger(__name__)

HOME = "/desk/"


class Accounts(DefaultAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Accounts are made by owners, never by strangers."""

    def is_open_for_signup(self, request: HttpRequest) -> bool:
        return False

    def get_client_ip(self, request: HttpRequest) -> str:
        """Return the client's address as TRUSTED_PROXIES tell it; a unix socket has none."""
        remote = request.META.get("REMOTE_ADDR") or ""
        forwarded = request.META.get("HTTP_X_FORWARDED_FOR", "")
        return addresses.network(remote, forwarded, settings.TRUSTED_PROXIES) or "local"

    def get_login_redirect_url(self, request: HttpRequest) -> str:
        return HOME

    def get_logout_redirect_url(self, request: HttpRequest) -> str:
        return settings.LOGIN_URL


class Factors(DefaultMFAAdapter):  # type: ignore[misc]  # allauth has no types
    """Secrets of second factors lie encrypted, as addresses do."""

    def encrypt(self, text: str) -> str:
        return base64.b64encode(addresses.seal(text, settings.FIELD_KEYS)).decode()

    def decrypt(self, encrypted_text: str) -> str:
        return addresses.unseal(base64.b64decode(encrypted_text), settings.FIELD_KEYS)


class Others(DefaultSocialAccountAdapter):  # type: ignore[misc]  # allauth has no types
    """Who the single sign-on knows comes in; what they may do here, a claim says, or an owner."""

    def is_open_for_signup(self, request: HttpRequest, sociallogin: Any) -> bool:
        return True

    def populate_user(self, request: HttpRequest, sociallogin: Any, data: Any) -> Any:
        user = super().populate_user(request, sociallogin, data)
        # A name of their choosing must not meet one of ours.
        subject = f"{sociallogin.account.provider}:{sociallogin.account.uid}"
        user.username = "sso-" + hashlib.sha256(subject.encode()).hexdigest()[:16]
        return user

    def save_user(self, request: HttpRequest, sociallogin: Any, form: Any = None) -> Any:
        user = super().save_user(request, sociallogin, form)
        _take_roles(user, sociallogin)
        return user

    def pre_social_login(self, request: HttpRequest, sociallogin: Any) -> None:
        if sociallogin.is_existing:
            _take_roles(sociallogin.user, sociallogin)


def _take_roles(user: User, sociallogin: Any) -> None:
    """Let the claim rule over the roles, when there is one; without it, owners give them by hand."""
    extra = sociallogin.account.extra_data or {}
    said = {**extra.get("id_token", {}), **extra.get("userinfo", {}), **extra}
    claim = said.get(settings.OIDC.get("OIDC_ROLES_CLAIM", "groups"))
    if not isinstance(claim, list):
        return
    names = sorted({str(word) for word in claim} & {role.value for role in roles.Role})
    before = sorted(user.groups.values_list("name", flat=True))
    if names != before:
        user.groups.set([Group.objects.get_or_create(name=name)[0] for name in names])
        services.audit(
            actor="single sign-on", action="roles", subject=user.username, now=timezone.now(),
            before={"roles": before}, after={"roles": names},
        )  # fmt: skip


class PasswordForm(AuthenticationForm):
    """Name and password; after five wrong ones in five minutes the name rests."""

    def clean(self) -> dict[str, Any]:
        name, password = self.cleaned_data.get("username"), self.cleaned_data.get("password")
        if name and password:
            self.user_cache = get_adapter().authenticate(
                self.request, username=name, password=password
            )
            if self.user_cache is None:
                raise self.get_invalid_login_error()
            self.confirm_login_allowed(self.user_cache)
        return self.cleaned_data


@sensitive_post_parameters()
@csrf_protect
@never_cache
def login(request: HttpRequest, extra_context: object = None) -> HttpResponse:
    """Ask for name and password; a second factor, where there is one, is asked for on the next page."""
    back = _safe(request, request.POST.get("next") or request.GET.get("next") or HOME)
    if request.user.is_authenticated and request.method == "GET":
        return redirect(back)
    form = PasswordForm(request, data=request.POST or None)
    if request.method == "POST" and form.is_valid():
        user = form.get_user()
        breakglass.opened(request, user, now=timezone.now())
        answer: HttpResponse = flows.perform_password_login(
            request, {"username": user.get_username()}, Login(user=user, redirect_url=back)
        )
        return answer
    return render(
        request, "desk/login.html", {"form": form, "next": back, "sso": bool(settings.OIDC)}
    )


def sso(request: HttpRequest) -> HttpResponseBase:
    """Send people to the single sign-on; when that does not answer, say how else to come in."""
    return _told(request, lambda: oidc.login(request, "sso"))


def sso_callback(request: HttpRequest) -> HttpResponseBase:
    """Take in who comes back from it."""
    return _told(request, lambda: oidc.callback(request, "sso"))


def _told(request: HttpRequest, ask: Callable[[], HttpResponseBase]) -> HttpResponseBase:
    try:
        return ask()
    except (requests.RequestException, OAuth2Error) as error:
        log.warning("the single sign-on does not answer: %s", type(error).__name__)
        return render(request, "desk/sso_away.html", status=502)


def _safe(request: HttpRequest, path: str) -> str:
    hosts = {request.get_host()}
    return path if url_has_allowed_host_and_scheme(path, hosts, request.is_secure()) else HOME
