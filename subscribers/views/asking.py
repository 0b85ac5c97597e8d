"""Asking: the form, and the same answer for everybody who sends it."""

import time
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import get_language, gettext

from incidents.models import Component, Incident
from subscribers import addresses, doorstep, services
from subscribers.addresses import BadAddress, Kind
from subscribers.forms import SubscribeForm, consent_text, first_errors, wake_text
from subscribers.views import frame

TEN_MINUTES_S = 600


@frame.guarded
def subscribe(request: HttpRequest) -> HttpResponse:
    """Show the form, or lay the wish down; the answer never tells who is known."""
    components = list(Component.objects.select_related("group"))
    offered = services.offered()
    if request.method != "POST":
        form = SubscribeForm(None, components=components, offered=offered)
        return _form(form, components, request.GET)
    form = SubscribeForm(request.POST, components=components, offered=offered)
    if not form.is_valid():
        if frame.wants_json(request):
            return frame.json({"errors": first_errors(form)}, status=frame.UNPROCESSABLE)
        return _form(form, components, request.POST, status=frame.UNPROCESSABLE)
    wish, kind = _wish(form.cleaned_data, offered)
    if not form.cleaned_data["website"]:  # a person does not see that field, let alone fill it in
        try:
            doorstep.ask(
                wish,
                kind=kind,
                network_hash=frame.network_hash(request),
                has_worked=_has_worked(request),
                now=timezone.now(),
            )
        except services.TooManyAsks as error:
            return frame.too_many(request, error)
    return _asked(request, kind, wish)


def _wish(
    wanted: dict[str, Any], offered: dict[str, tuple[str, Kind]]
) -> tuple[doorstep.Wish, Kind]:
    channel = wanted["channel"]
    wakes = wanted["wake_me"]
    # Who asks to be woken hears a text message first; it also carries the code.
    first, *also = ["sms", channel] if wakes and wanted["want"] and "sms" in offered else [channel]
    return doorstep.Wish(
        do="subscribe",
        channel=first,
        also=tuple(also),
        address=wanted["address"],
        components=tuple(component.slug for component in wanted["components"]),
        language=wanted["language"] or get_language() or "en",
        time_zone=wanted["time_zone"],
        wake_me=wakes,
        incident=wanted["incident"],
        consent_text=f"{consent_text()} {wake_text()}" if wakes else consent_text(),
    ), offered[channel][1]


def _has_worked(request: HttpRequest) -> bool:
    return addresses.has_worked(
        request.POST.get("seed", ""),
        request.POST.get("nonce", ""),
        request.POST.get("address", ""),
        secret=settings.SECRET_KEY,
        now_s=int(time.time()),
    )


def _asked(request: HttpRequest, kind: Kind, wish: doorstep.Wish) -> HttpResponse:
    """Answer a request to subscribe: the same for every address that can be written to."""
    # Where the confirmation arrives.
    where = {
        Kind.EMAIL: gettext("Check your mail"),
        Kind.PHONE: gettext("Check your phone"),
        Kind.URL: gettext("Check your channel"),
        Kind.PUSH: gettext("Check your notifications"),
        Kind.ACCOUNT: gettext("Check your account"),
    }[kind]
    if frame.wants_json(request):
        nothing = gettext("nothing is sent before you confirm")
        return frame.json({"message": f"{where}: {nothing}."})
    return frame.page("asked.html", where=where, is_phone=kind is Kind.PHONE,
        is_url=kind is Kind.URL, phone=wish.address if kind is Kind.PHONE else "")  # fmt: skip


def _form(
    form: SubscribeForm, components: list[Component], typed: Any, status: int = 200
) -> HttpResponse:
    """Render the form with what was typed (a QueryDict) kept."""
    chosen = set(",".join(typed.getlist("components")).split(","))
    every = [
        {
            "name": name,
            "label": gettext(label),
            "wakes": name == services.WAKING_CHANNEL,
            "kind": str(kind),
        }
        for name, (label, kind) in form.offered.items()
    ]
    channels = [row for row in every if row["kind"] in (Kind.EMAIL, Kind.PHONE)]
    for_teams = [row for row in every if row["kind"] == Kind.URL]
    picked = typed.get("channel", "")
    errors = first_errors(form) if form.is_bound else {}
    can_wake = services.WAKING_CHANNEL in form.offered
    # PostgreSQL takes no NUL; without it an id is as unknown.
    uid = typed.get("incident", "").replace("\0", "")
    incident = Incident.objects.filter(uid=uid, published_at__isnull=False).first()
    return frame.page(
        "subscribe.html",
        status=status,
        channels=channels,
        for_teams=for_teams,
        picked=picked if picked in form.offered else "",
        want=typed.get("want") if typed.get("want") in ("tell", "wake") else "tell",
        can_wake=can_wake,
        calls=int(getattr(settings.OPEN_CHANNELS.get(services.WAKING_CHANNEL), "per_s", None) or 0)
        * TEN_MINUTES_S,
        number=calling_number() if can_wake else "",
        address=typed.get("address", "")[: addresses.URL_CHARS_MAX],
        incident=incident,
        push_key=_push_key(),
        kinds={str(kind) for _, kind in form.offered.values()},
        components=[
            {"slug": c.slug, "name": c.name, "is_chosen": c.slug in chosen} for c in components
        ],
        critical=[component.name for component in components if component.critical],
        time_zone=typed.get("time_zone", "")[:64],
        more_open=bool(
            errors.keys() & {"channel", "components", "wake_me", "language", "time_zone"}
        )
        or picked in form.offered
        or chosen != {""},
        consent=consent_text(),
        wake=wake_text(),
        errors=errors,
        seed=addresses.work_seed(int(time.time()) // 60 * 60, settings.SECRET_KEY),
        work_bits=addresses.WORK_BITS,
    )


def calling_number() -> str:
    """Return the number that calls and writes, "" when it is a pool."""
    return settings.ENVIRON.raw.get("TWILIO_FROM", "")


def _push_key() -> str:
    """Return the key with which browsers subscribe, "" when no push is configured."""
    channel = settings.OPEN_CHANNELS.get("webpush")
    return str(getattr(channel, "public_key", ""))


@frame.guarded
def ask_to_manage(request: HttpRequest) -> HttpResponse:
    """Send a link to whoever owns the address: typing it opens nothing."""
    if request.method != "POST":
        return frame.page("ask_to_manage.html")
    typed = request.POST.get("address", "")
    kind = services.kind_typed(typed)
    try:
        address = addresses.clean(kind, typed, plain_http=settings.ENVIRON.allow_private_hooks)
        doorstep.ask(
            doorstep.Wish(do="manage", channel="", address=address),
            kind=kind,
            network_hash=frame.network_hash(request),
            has_worked=False,
            now=timezone.now(),
        )
    except BadAddress as error:
        shown = typed[: addresses.TYPED_CHARS_MAX]
        return frame.page(
            "ask_to_manage.html",
            status=frame.UNPROCESSABLE,
            address=shown,
            problem=frame.say(error),
        )
    except services.TooManyAsks as error:
        return frame.too_many(request, error)
    return frame.page("link_sent.html")
