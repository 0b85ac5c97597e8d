"""What one press does: publish or veto a draft, halt a message, try failed ones again; a refusal is a sentence."""

from collections.abc import Callable
from typing import Concatenate, ParamSpec

from django.contrib import messages
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone

from desk import access, waking
from desk.access import allowed
from desk.admin import who
from desk.roles import Right
from incidents import joining, recurring, services
from incidents.lifecycle import IllegalMove, Refused
from incidents.models import Incident, Series, Update
from notifications import again, outbox
from notifications.models import Broadcast

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponseBase]
WAKES = " Calls wait two minutes for a second person."


def acting(right: Right, *, to_everyone: bool = False) -> Callable[[View[P]], View[P]]:
    """A button: POST only, with the right to it, and freshly proven when everyone hears of it."""

    def button(view: View[P]) -> View[P]:
        def pressed(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            try:
                first = access.before_everyone(request, now=timezone.now()) if to_everyone else None
                return first or view(request, *args, **kwargs)
            except (Refused, IllegalMove) as error:
                messages.error(request, str(error))
                return redirect(_back(request))

        return allowed(right)(access.button(pressed))

    return button


def _back(request: HttpRequest) -> str:
    """Return to the page that held the button, when that is one of the desk's."""
    back = request.POST.get("back", "")
    return back if back.startswith("/desk/") and "//" not in back else "/desk/"


@acting(Right.PUBLISH, to_everyone=True)
def publish_draft(request: HttpRequest, uid: str) -> HttpResponse:
    incident = get_object_or_404(Incident.objects.select_related("page"), uid=uid)
    now = timezone.now()
    is_held = incident.published_at is None and waking.draft_is_held(
        incident, access.user_of(request), now=now
    )
    with transaction.atomic():
        services.publish_draft(incident, actor=who(request), by_person=True, now=now)
        if is_held:
            waking.hold(incident, actor=who(request), now=now)
    messages.success(request, f"Published: {incident.name}.{WAKES if is_held else ''}")
    return redirect("desk:console")


@acting(Right.BRAKE)
def veto_draft(request: HttpRequest, uid: str) -> HttpResponse:
    incident = get_object_or_404(Incident, uid=uid)
    services.veto(incident, actor=who(request), now=timezone.now())
    messages.success(request, f"Vetoed, does not go out: {incident.name}")
    return redirect("desk:console")


@acting(Right.PUBLISH, to_everyone=True)
def publish_follow_up(request: HttpRequest, uid: str) -> HttpResponse:
    update = get_object_or_404(Update.objects.select_related("incident__page"), uid=uid)
    now = timezone.now()
    is_held = waking.follow_up_is_held(update, access.user_of(request), now=now)
    with transaction.atomic():
        services.publish_drafted_update(update, actor=who(request), by_person=True, now=now)
        if is_held:
            waking.hold(update.incident, actor=who(request), now=now)
    messages.success(request, f"Published: {update.incident.name}.{WAKES if is_held else ''}")
    return redirect("desk:console")


@acting(Right.BRAKE)
def veto_follow_up(request: HttpRequest, uid: str) -> HttpResponse:
    update = get_object_or_404(Update.objects.select_related("incident__page"), uid=uid)
    services.veto(update, actor=who(request), now=timezone.now())
    messages.success(request, f"Vetoed, does not go out: {update.incident.name}")
    return redirect("desk:console")


@acting(Right.PUBLISH, to_everyone=True)
def agree(request: HttpRequest, uid: str) -> HttpResponse:
    """The second of two people: the calls go now."""
    update = get_object_or_404(Update, uid=uid)
    woken = waking.agree(update, actor=who(request), now=timezone.now())
    messages.success(request, f"You agreed: {woken:,} phones ring now.")
    return redirect("desk:console")


@acting(Right.BRAKE)
def halt(request: HttpRequest, pk: int) -> HttpResponse:
    """The brake: no new message of this broadcast leaves."""
    broadcast = get_object_or_404(Broadcast, pk=pk)
    now = timezone.now()
    outbox.halt(broadcast, now=now)
    services.audit(actor=who(request), action="halt", subject=str(broadcast.pk), now=now)
    messages.success(request, "Halted: no new message of it leaves.")
    return redirect(_back(request))


@acting(Right.PUBLISH, to_everyone=True)
def retry_failed(request: HttpRequest, pk: int) -> HttpResponse:
    broadcast = get_object_or_404(Broadcast, pk=pk)
    now = timezone.now()
    put_back, left = again.retry_failed(broadcast, now=now)
    services.audit(
        actor=who(request),
        action="retry_failed",
        subject=str(pk),
        after={"deliveries": put_back},
        now=now,
    )
    rest = f"; {left:,} are left for another press" if left else ""
    messages.success(request, f"{put_back:,} failed messages are tried again{rest}.")
    return redirect(_back(request))


@acting(Right.PUBLISH, to_everyone=True)
def merge(request: HttpRequest, uid: str) -> HttpResponse:
    incident = get_object_or_404(Incident, uid=uid)
    into = get_object_or_404(Incident, uid=request.POST.get("into", ""))
    joining.merge(incident, into=into, actor=who(request), now=timezone.now())
    messages.success(request, f"“{incident.name}” goes on in “{into.name}”.")
    return redirect("desk:incident", into.uid)


@acting(Right.PUBLISH)
def end_series(request: HttpRequest, uid: str) -> HttpResponse:
    series = get_object_or_404(Series, uid=uid)
    recurring.end(series, actor=who(request), now=timezone.now())
    messages.success(
        request, f"“{series.name}” is not announced again; windows that were announced stay."
    )
    return redirect("desk:console")
