"""Managing: everything that one person hears and has said, behind a link that lives for an hour."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext

from incidents import reads
from incidents.models import Component
from subscribers import addresses, contacts, doorstep, exporting, mishaps, services
from subscribers.addresses import Kind
from subscribers.forms import (
    AddForm,
    ContactForm,
    HabitsForm,
    WishesForm,
    consent_text,
    contact_text,
    first_errors,
    impacts,
    wake_text,
)
from subscribers.models import CONTACTS_MAX, LetterKind, Subscription
from subscribers.views import frame, shown
from subscribers.views.asking import calling_number

PAUSES = {"1": timedelta(days=1), "7": timedelta(days=7), "30": timedelta(days=30)}
Problems = dict[str, str]
Said = tuple[str, Problems]  # what was done, or what was wrong by field


class _Desk:
    """One press of a button on the page of one person."""

    def __init__(self, request: HttpRequest, letter_row: Subscription, now: datetime) -> None:
        self.request, self.key, self.now = request, letter_row, now
        self.person = letter_row.subscriber
        self.rows = services.of_person(letter_row)

    def press(self) -> Said:
        action = self.request.POST.get("action", "save")
        of_row: dict[str, Callable[[Subscription], Said]] = {
            "save": self._save,
            "unsubscribe": self._unsubscribe,
            "up": lambda row: self._move(row, -1),
            "down": lambda row: self._move(row, 1),
            "test": self._test,
        }
        of_person: dict[str, Callable[[], Said]] = {
            "habits": self._habits,
            "pause": self._pause,
            "resume": self._resume,
            "add": self._add,
            "contact": self._contact,
            "drop-contact": self._drop_contact,
            "forget": self._forget,
        }
        if action in of_person:
            return of_person[action]()
        uid = self.request.POST.get("subscription", "")
        row = next((row for row in self.rows if row.uid == uid), None)
        if row is None or action not in of_row:
            return "", {"subscription": gettext("This subscription is not there any more.")}
        return of_row[action](row)

    def _save(self, row: Subscription) -> Said:
        form = WishesForm(self.request.POST, components=list(Component.objects.all()))
        if not form.is_valid():
            return "", first_errors(form)
        services.wish(
            row,
            form.wishes(can_wake=row.channel == services.WAKING_CHANNEL),
            consent_text=wake_text(),
            now=self.now,
        )
        return gettext("Saved."), {}

    def _unsubscribe(self, row: Subscription) -> Said:
        services.leave(row, now=self.now)
        return gettext("Unsubscribed."), {}

    def _move(self, row: Subscription, by: int) -> Said:
        services.move(self.rows, row, by=by)
        return gettext("Saved."), {}

    def _test(self, row: Subscription) -> Said:
        due_at, problem = self._test_at()
        if problem:
            return "", {"at": problem}
        if not services.try_out(row, now=self.now, due_at=due_at):
            return "", {
                "test": gettext("This address had its three tests today. Try again tomorrow.")
            }
        if due_at is None:
            return gettext("A test is on its way."), {}
        at = shown.local(due_at, self.person)
        return gettext("The test comes at {time}.").format(time=at), {}

    def _test_at(self) -> tuple[datetime | None, str]:
        """Return when the test is to come: the next time that the clock shows what was typed, or None for now."""
        typed = self.request.POST.get("at", "").strip()
        if not typed:
            return None, ""
        try:
            hour, minute = (int(word) for word in typed.split(":")[:2])
            zone = ZoneInfo(self.person.time_zone or reads.the_page().time_zone)
            local = self.now.astimezone(zone)
            due_at = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
        except ValueError:
            return None, gettext("This is not a time of day; expected one as 07:30.")
        return (due_at if due_at > local else due_at + timedelta(days=1)), ""

    def _habits(self) -> Said:
        form = HabitsForm(self.request.POST)
        if not form.is_valid():
            return "", first_errors(form)
        services.settle_in(self.person, form.habits())
        return gettext("Saved."), {}

    def _pause(self) -> Said:
        until = self.now + PAUSES.get(self.request.POST.get("days", ""), PAUSES["1"])
        services.pause(self.person, until)
        told = shown.local(until, self.person)
        return gettext("Paused until {time}. Nothing is sent before.").format(time=told), {}

    def _resume(self) -> Said:
        services.pause(self.person, None)
        return gettext("Messages go on."), {}

    def _add(self) -> Said:
        form = AddForm(self.request.POST, offered=services.offered())
        if not form.is_valid():
            return "", first_errors(form, prefix="add-")
        channel, address = form.cleaned_data["channel"], form.cleaned_data["address"]
        wakes = channel == services.WAKING_CHANNEL
        text = f"{consent_text()} {wake_text()}" if wakes else consent_text()
        return self._ask(
            doorstep.Wish(do="subscribe", channel=channel, address=address, language=self.person.language,
                time_zone=self.person.time_zone, wake_me=wakes, consent_text=text, person=self.person.uid),
        )  # fmt: skip

    def _contact(self) -> Said:
        if self.person.contacts.count() >= CONTACTS_MAX:
            return "", {"contact-address": gettext("At most five further contacts can be named.")}
        form = ContactForm(self.request.POST, offered=services.offered())
        if not form.is_valid():
            return "", first_errors(form, prefix="contact-")
        wanted = form.cleaned_data
        return self._ask(
            doorstep.Wish(do="contact", channel=wanted["channel"], address=wanted["address"], name=wanted["name"],
                language=self.person.language, wake_me=True, consent_text=contact_text(), person=self.person.uid),
        )  # fmt: skip

    def _ask(self, wish: doorstep.Wish) -> Said:
        kind = services.kind_of(wish.channel)
        try:
            doorstep.ask(
                wish, kind=kind, network_hash=frame.network_hash(self.request), has_worked=True, now=self.now
            )  # fmt: skip
        except services.TooManyAsks:
            return "", {"add-address": gettext("Too many were asked for today. Try again later.")}
        if kind is Kind.PHONE:
            return gettext(
                "A message with a code is on its way there. It counts once the code was typed at /confirm, or YES was answered."
            ), {}
        return gettext("A message is on its way there. It counts once its link was confirmed."), {}

    def _drop_contact(self) -> Said:
        typed = self.request.POST.get("contact", "")
        found = (
            self.person.contacts.filter(pk=int(typed)).first()
            if typed.isdecimal() and len(typed) < 19
            else None
        )
        if found:
            contacts.drop_contact(found, now=self.now)
        return gettext("Saved."), {}

    def _forget(self) -> Said:
        if self.request.POST.get("sure") != "on":
            return "", {"sure": gettext("Tick the box first: this cannot be undone.")}
        for one in self.person.contacts.select_related("subscription"):
            contacts.drop_contact(one, now=self.now)
        for row in self.rows:
            services.forget(row, now=self.now)
        return gettext("Everything about you is deleted."), {}


@frame.guarded
def manage(request: HttpRequest, token: str) -> HttpResponse:
    """Show and change what one person hears; the link lives for an hour."""
    now = timezone.now()
    try:
        letter = services.letter_of(LetterKind.MANAGE, token, now=now)
    except services.DeadLink as error:
        return frame.dead(error, retry="/manage", retry_label=gettext("Get a new link"))
    desk = _Desk(request, letter.subscription, now)
    if request.method == "POST" and request.POST.get("action") == "export":
        return _export(desk)
    language = desk.person.language
    changed = ""
    problems: Problems = {}
    if request.method == "POST":
        with frame.speaking(language):
            changed, problems = desk.press()
    desk = _Desk(request, services.again(letter.subscription), now)
    with frame.speaking(desk.person.language):
        return _page(desk, changed, problems)


def _page(desk: _Desk, changed: str, problems: Problems) -> HttpResponse:
    person = desk.person
    offered = services.offered()
    paused = next((row.paused_until for row in desk.rows if row.paused_until), None)
    return frame.page(
        "manage.html",
        status=frame.UNPROCESSABLE if problems else 200,
        rows=[shown.row(row) for row in desk.rows],
        person=person,
        discreet=any(row.discreet for row in desk.rows),
        fallback_min=person.fallback_after_s // 60,
        quiet_from=f"{person.quiet_from:%H:%M}" if person.quiet_from else "",
        quiet_until=f"{person.quiet_until:%H:%M}" if person.quiet_until else "",
        hours=range(24),
        paused_until=shown.local(paused, person) if paused and paused > desk.now else "",
        mishaps=[shown.mishap(one, person) for one in mishaps.of_person(person.pk, desk.now)],
        contacts=[shown.contact(one) for one in person.contacts.select_related("subscription").order_by("position", "id")],
        can_contact="voice" in offered or "sms" in offered,
        offered=[
            {"name": name, "label": gettext(label)}
            for name, (label, kind) in offered.items()
            if kind in (Kind.EMAIL, Kind.PHONE)
        ],
        impacts=impacts(),
        problems=problems,
        typed={name: desk.request.POST.get(name, "")[: addresses.TYPED_CHARS_MAX] for name in ("address", "name", "at")}
        if problems
        else {},
        action=desk.request.POST.get("action", ""),
        changed=changed,
        wake=wake_text(),
        number=calling_number(),
        languages=frame.language_choices(),
    )  # fmt: skip


def _export(desk: _Desk) -> HttpResponse:
    """Hand over everything that is kept of this person, as JSON (GDPR, art. 15 and 20)."""
    body = json.dumps(exporting.person(desk.key), indent=2, ensure_ascii=False)
    response = HttpResponse(body, content_type="application/json; charset=utf-8")
    response["Content-Disposition"] = 'attachment; filename="my-data.json"'
    return response
