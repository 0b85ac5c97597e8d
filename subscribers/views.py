"""The pages of people: subscribe, confirm, manage, unsubscribe; all without script, cookie or session."""

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import Any

from django.conf import settings
from django.contrib.staticfiles import finders
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.cache import patch_vary_headers
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from incidents import reads
from incidents.models import Component
from subscribers import addresses, services
from subscribers.addresses import BadAddress, Kind
from subscribers.forms import CONSENT_TEXT, WAKE_TEXT, PreferencesForm, SubscribeForm
from subscribers.models import LetterKind, State, Subscription

UNPROCESSABLE, GONE, TOO_MANY = 422, 410, 429
TOO_MANY_SENTENCE = (
    "Too many requests came from your network or for this range of numbers. Nothing was sent. "
    "Try again in four hours, or choose another way to be told."
)
HEADERS = {
    # The link in the address bar is the key to the page: it must not travel on, nor be kept.
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Robots-Tag": "noindex",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; "
        "worker-src 'self'; connect-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
}
View = Callable[..., HttpResponseBase]


def _guarded(view: View) -> View:
    """Set the headers of a page that holds a key.

    CSRF protection is off on purpose: it guards what a browser's cookie may do, and here no cookie counts. Whoever
    holds the link in the path may do what it says, a mail provider's one-click POST (RFC 8058) among them; whoever
    holds none can only ask for a letter to be sent, which anybody may do without a browser too.
    """

    @csrf_exempt
    @require_http_methods(["GET", "HEAD", "POST"])
    @wraps(view)
    def guarded(request: HttpRequest, *args: str, **kwargs: str) -> HttpResponseBase:
        response = view(request, *args, **kwargs)
        for name, value in HEADERS.items():
            response[name] = value
        return response

    return guarded


@_guarded
def subscribe(request: HttpRequest) -> HttpResponse:
    """Show the form, or ask the address whether it wants this; the answer never tells who is known."""
    components = list(Component.objects.select_related("group"))
    offered = services.offered()
    if request.method != "POST":
        return _subscribe_page(
            SubscribeForm(None, components=components, offered=offered), components, request.GET
        )
    form = SubscribeForm(request.POST, components=components, offered=offered)
    if not form.is_valid():
        if _wants_json(request):
            return _json({"errors": _first_errors(form)}, status=UNPROCESSABLE)
        return _subscribe_page(form, components, request.POST, status=UNPROCESSABLE)
    wanted = form.cleaned_data
    try:
        services.subscribe(
            channel=wanted["channel"],
            address=wanted["address"],
            components=wanted["components"],
            language=wanted["language"] or _languages()[0],
            time_zone=wanted["time_zone"],
            wake_me=wanted["wake_me"],
            consent_text=f"{CONSENT_TEXT} {WAKE_TEXT}" if wanted["wake_me"] else CONSENT_TEXT,
            network_hash=_network_hash(request),
            now=timezone.now(),
        )
    except services.TooManyAsks:
        return _too_many(request)
    return _asked(request, offered[wanted["channel"]][1], wanted["address"])


# Where the confirmation arrives.
_WHERE = {
    Kind.EMAIL: "mail",
    Kind.PHONE: "phone",
    Kind.URL: "channel",
    Kind.PUSH: "notifications",
    Kind.ACCOUNT: "account",
}


def _asked(request: HttpRequest, kind: Kind, address: str) -> HttpResponse:
    """Answer a request to subscribe: the same for every address that can be written to."""
    what = _WHERE[kind]
    if _wants_json(request):
        return _json({"message": f"Check your {what}: nothing is sent before you confirm."})
    return _page("asked.html", what=what, is_phone=kind is Kind.PHONE,
        is_url=kind is Kind.URL, phone=address if kind is Kind.PHONE else "")  # fmt: skip


@require_http_methods(["GET", "HEAD"])
def push_worker(request: HttpRequest) -> HttpResponse:
    """Answer the service worker that shows pushes; its scope is its own folder, so no page is slowed by it."""
    response = HttpResponse(_worker_script(), content_type="text/javascript; charset=utf-8")
    response["Cache-Control"] = "no-cache"
    response["Content-Security-Policy"] = "default-src 'none'; connect-src 'self'"
    return response


@lru_cache(maxsize=1)
def _worker_script() -> str:
    found = finders.find("push-worker.js")
    assert isinstance(found, str), "subscribers/static/push-worker.js is part of the app"
    return Path(found).read_text(encoding="utf-8")


@_guarded
def confirm(request: HttpRequest, token: str) -> HttpResponse:
    """Ask on GET (mail scanners follow links), confirm on POST."""
    now = timezone.now()
    try:
        if request.method == "POST":
            subscription = services.confirm(token=token, now=now)
        else:
            subscription = services.letter_of(LetterKind.CONFIRM, token, now=now).subscription
    except services.DeadLink as error:
        return _dead(error, retry="/subscribe", retry_label="Subscribe again")
    return _page(
        "confirm.html", row=_shown(subscription), is_active=subscription.state == State.ACTIVE
    )


@_guarded
def confirm_code(request: HttpRequest) -> HttpResponse:
    """Take the code from a text message or a call; wrong, late and unknown answer alike."""
    if request.method != "POST":
        return _page("code.html", phone=request.GET.get("phone", "")[: addresses.TYPED_CHARS_MAX])
    phone, code = request.POST.get("phone", ""), request.POST.get("code", "")
    problem = ""
    try:
        subscription = services.confirm_code(phone=phone, code=code, now=timezone.now())
        if subscription:
            return _page("confirm.html", row=_shown(subscription), is_active=True)
        problem = "This code is wrong, used, or older than ten minutes. Type it again, or subscribe again for a new one."
        field = "code"
    except BadAddress as error:
        problem, field = str(error), "phone"
    typed = phone[: addresses.TYPED_CHARS_MAX]
    return _page("code.html", status=UNPROCESSABLE, phone=typed, problem=problem, field=field)


@_guarded
def ask_to_manage(request: HttpRequest) -> HttpResponse:
    """Send a link to whoever owns the address: typing it opens nothing."""
    if request.method != "POST":
        return _page("ask_to_manage.html")
    typed = request.POST.get("address", "")
    try:
        services.ask_to_manage(
            address=typed, network_hash=_network_hash(request), now=timezone.now()
        )
    except BadAddress as error:
        shown = typed[: addresses.TYPED_CHARS_MAX]
        return _page("ask_to_manage.html", status=UNPROCESSABLE, address=shown, problem=str(error))
    except services.TooManyAsks:
        return _too_many(request)
    return _page("link_sent.html")


@_guarded
def manage(request: HttpRequest, token: str) -> HttpResponse:
    """Show and change what one address hears; its link lives for an hour."""
    now = timezone.now()
    try:
        letter = services.letter_of(LetterKind.MANAGE, token, now=now)
    except services.DeadLink as error:
        return _dead(error, retry="/manage", retry_label="Get a new link")
    address_hash = letter.subscription.address_hash
    problems: dict[str, str] = {}
    changed = ""
    if request.method == "POST":
        uid = request.POST.get("subscription", "")
        row = next((row for row in services.of_address(address_hash) if row.uid == uid), None)
        if row is None:
            problems = {"subscription": "This subscription is not there any more."}
        elif request.POST.get("action") == "unsubscribe":
            services.leave(row, now=now)
            changed = "Unsubscribed."
        else:
            problems = _prefer(row, request)
            changed = "" if problems else "Saved."
    rows = [_shown(row) for row in services.of_address(address_hash)]
    status = UNPROCESSABLE if problems else 200
    return _page(
        "manage.html",
        status=status,
        rows=rows,
        problems=problems,
        changed=changed,
        wake=WAKE_TEXT,
        languages=_language_choices(),
    )


def _prefer(row: Subscription, request: HttpRequest) -> dict[str, str]:
    """Write what was chosen; return the mistakes by field."""
    form = PreferencesForm(request.POST, components=list(Component.objects.all()))
    if not form.is_valid():
        return _first_errors(form)
    wanted = form.cleaned_data
    can_wake = row.channel == services.WAKING_CHANNEL
    services.prefer(
        row,
        components=wanted["components"],
        language=wanted["language"],
        time_zone=wanted["time_zone"],
        # An unticked box is not sent at all.
        wake_me=bool(wanted["wake_me"]) if can_wake else None,
        consent_text=WAKE_TEXT,
        now=timezone.now(),
    )
    return {}


@_guarded
def unsubscribe(request: HttpRequest, token: str) -> HttpResponse:
    """Ask on GET, end it on POST: 200 without redirect or cookie, as often as a provider repeats it (RFC 8058)."""
    try:
        if request.method == "POST":
            services.unsubscribe(token=token, now=timezone.now())
        subscription = services.subscription_of(token)
    except services.DeadLink as error:
        return _dead(error, retry="/manage", retry_label="Get a link to your settings")
    return _page(
        "unsubscribe.html", row=_shown(subscription), is_gone=subscription.state == State.GONE
    )


# --- inside -----------------------------------------------------------------------------------------


def _page(template: str, *, status: int = 200, **context: Any) -> HttpResponse:
    """Render without the request: no context processor runs, so no session and no cookie come into being."""
    context |= {"page_name": reads.the_page().name}
    return HttpResponse(render_to_string(f"subscribers/{template}", context), status=status)


def _subscribe_page(
    form: SubscribeForm, components: list[Component], typed: Any, status: int = 200
) -> HttpResponse:
    """Render the form with what was typed (a QueryDict) kept."""
    chosen = set(typed.getlist("components")) | set(
        ",".join(typed.getlist("components")).split(",")
    )
    every = [
        {"name": name, "label": label, "wakes": name == services.WAKING_CHANNEL, "kind": str(kind)}
        for name, (label, kind) in form.offered.items()
    ]
    channels = [row for row in every if row["kind"] in (Kind.EMAIL, Kind.PHONE)]
    for_teams = [row for row in every if row["kind"] == Kind.URL]
    first = channels[0]["name"] if channels else ""
    picked = typed.get("channel") if typed.get("channel") in form.offered else first
    return _page(
        "subscribe.html",
        status=status,
        channels=channels,
        for_teams=for_teams,
        is_team=picked in {row["name"] for row in for_teams},
        picked=picked,
        address=typed.get("address", "")[: addresses.URL_CHARS_MAX],
        push_key=_push_key(),
        kinds={str(kind) for _, kind in form.offered.values()},
        components=[
            {"slug": c.slug, "name": c.name, "is_chosen": c.slug in chosen} for c in components
        ],
        critical=[component.name for component in components if component.critical],
        languages=_language_choices(),
        language=typed.get("language", ""),
        consent=CONSENT_TEXT,
        wake=WAKE_TEXT,
        errors=_first_errors(form) if form.is_bound else {},
    )


def _push_key() -> str:
    """Return the key with which browsers subscribe, "" when no push is configured."""
    channel = settings.OPEN_CHANNELS.get("webpush")
    return str(getattr(channel, "public_key", ""))


def _shown(row: Subscription) -> dict[str, Any]:
    """Return what a template shows of a subscription to whoever holds its link."""
    address = services.address_of(row)
    label = settings.CHANNELS.get(row.channel, (row.channel.capitalize(), ""))[0]
    chosen = set(row.components.values_list("slug", flat=True))
    suppression = services.suppressions([row]).get(row.pk)
    components = list(Component.objects.all())
    return {
        "uid": row.uid,
        "label": label,
        "address": addresses.mask(services.kind_of(row.channel), address) if address else "",
        "is_everything": row.every_component,
        "components": [
            {"slug": c.slug, "name": c.name, "is_chosen": c.slug in chosen} for c in components
        ],
        "chosen": [component.name for component in components if component.slug in chosen],
        "critical": [component.name for component in components if component.critical],
        "can_wake": row.channel == services.WAKING_CHANNEL,
        "wake_me": row.wake_me,
        "is_pending": row.state == State.PENDING,
        "undeliverable": suppression.reason if suppression else "",
        "language": row.language,
        "time_zone": row.subscriber.time_zone,
    }


def _dead(error: services.DeadLink, *, retry: str, retry_label: str) -> HttpResponse:
    status = 404 if error.why is services.Why.UNKNOWN else GONE
    return _page(
        "dead_link.html", status=status, is_expired=status == GONE, retry=retry, retry_label=retry_label
    )  # fmt: skip


def _too_many(request: HttpRequest) -> HttpResponse:
    if _wants_json(request):
        response: HttpResponse = _json({"errors": {"address": TOO_MANY_SENTENCE}}, status=TOO_MANY)
    else:
        response = _page("too_many.html", status=TOO_MANY, sentence=TOO_MANY_SENTENCE)
    response["Retry-After"] = str(int(services.ASKS_WINDOW.total_seconds()))
    return response


def _first_errors(form: PreferencesForm) -> dict[str, str]:
    return {name: str(errors[0]) for name, errors in form.errors.items()}


def _wants_json(request: HttpRequest) -> bool:
    return request.get_preferred_type(["text/html", "application/json"]) == "application/json"


def _json(answer: dict[str, Any], status: int = 200) -> JsonResponse:
    response = JsonResponse(answer, status=status)
    patch_vary_headers(response, ["Accept"])
    return response


def _languages() -> list[str]:
    """Return the page's languages; the first one is what people get who choose none."""
    return list(reads.the_page().languages) or ["en"]


def _language_choices() -> list[tuple[str, str]]:
    names = dict(settings.LANGUAGES)
    return [(code, names.get(code, code)) for code in _languages()]


def _network_hash(request: HttpRequest) -> str:
    """Return the hash of the network that asks; the address itself is kept nowhere."""
    remote, forwarded = (
        request.META.get("REMOTE_ADDR", ""),
        request.META.get("HTTP_X_FORWARDED_FOR", ""),
    )
    return services.network_hash(addresses.network(remote, forwarded, settings.TRUSTED_PROXIES))
