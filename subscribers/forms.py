"""The forms of people: what was typed, checked field by field, each mistake said in one sentence."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from django import forms
from django.conf import settings
from django.http import QueryDict
from django.utils.translation import gettext, gettext_lazy, gettext_noop

from incidents.lifecycle import Impact
from incidents.models import Component
from subscribers import addresses, services
from subscribers.addresses import BadAddress, Kind
from subscribers.preferring import Habits, Wishes

# Shown on the form and kept word for word as proof, in the language it was shown in: channels.md §4.1, "Consent".
CONSENT_TEXT = gettext_noop(
    "I ask to be written to at this address when something is wrong, planned or mended. For text "
    "messages, message and data rates may apply; reply STOP to end. I can leave at any time by the "
    "link in every message."
)
WAKE_TEXT = gettext_noop("I ask to be called, also at night, when a critical part does not work.")
CONTACT_TEXT = gettext_noop(
    "I ask to be written to and called when somebody who named me as a further contact does not answer."
)
COMPONENTS_MAX = 200  # more were never on a page; bounds the work of one request
INCIDENT_CHARS = 12
FALLBACK_MIN_MAX = 120  # two hours: later no night is saved
_YES = frozenset({"1", "on", "true", "yes"})
Offered = Mapping[str, tuple[str, Kind]]


def consent_text() -> str:
    return gettext(CONSENT_TEXT)


def wake_text() -> str:
    return gettext(WAKE_TEXT)


def contact_text() -> str:
    return gettext(CONTACT_TEXT)


def impacts() -> list[tuple[str, str]]:
    """Return the choices of the least that an incident must hurt, in words."""
    return [
        ("", gettext("Everything, planned work too")),
        (Impact.MINOR, gettext("Something is slow, or worse")),
        (Impact.MAJOR, gettext("Something does not work, or worse")),
        (Impact.CRITICAL, gettext("Only when a whole part does not work")),
    ]


def first_errors(form: forms.Form, prefix: str = "") -> dict[str, str]:
    return {f"{prefix}{name}": str(errors[0]) for name, errors in form.errors.items()}


class ComponentsField(forms.Field):
    """Slugs, as repeated fields or in one separated by comma or bar; nothing chosen means everything."""

    def __init__(self, components: Sequence[Component]) -> None:
        super().__init__(required=False)
        self.widget = forms.SelectMultiple()
        self.by_slug = {component.slug: component for component in components}

    def clean(self, value: Any) -> list[Component]:  # Django hands in whatever the widget read
        slugs = [slug for text in value or () for slug in re.split(r"[,|\s]+", text) if slug]
        if len(slugs) > COMPONENTS_MAX:
            raise forms.ValidationError(
                gettext("At most {limit} parts can be chosen.").format(limit=COMPONENTS_MAX)
            )
        unknown = [slug for slug in slugs if slug not in self.by_slug]
        if unknown:
            sentence = gettext("There is no part “{name}”; choose among those listed.")
            raise forms.ValidationError(sentence.format(name=unknown[0][:64]))
        return [self.by_slug[slug] for slug in dict.fromkeys(slugs)]


class WishesForm(forms.Form):
    """What one channel hears."""

    wake_me = forms.CharField(required=False, max_length=8)
    digest = forms.CharField(required=False, max_length=8)
    least_impact = forms.ChoiceField(
        required=False,
        choices=[("", ""), *((impact, impact) for impact in Impact)],
        error_messages={"invalid_choice": gettext_lazy("Choose among the impacts listed.")},
    )

    def __init__(self, typed: QueryDict | None, *, components: Sequence[Component]) -> None:
        super().__init__(typed)
        self.fields["components"] = ComponentsField(components)

    def wishes(self, *, can_wake: bool) -> Wishes:
        wanted = self.cleaned_data
        return Wishes(
            components=wanted["components"],
            # An unticked box is not sent at all.
            wake_me=wanted["wake_me"].lower() in _YES if can_wake else None,
            least_impact=wanted["least_impact"],
            digest=wanted["digest"].lower() in _YES,
        )


class PlaceForm(forms.Form):
    """In which language, by whose clock."""

    language = forms.CharField(required=False, max_length=10)
    time_zone = forms.CharField(required=False, max_length=64)

    def clean_language(self) -> str:
        sentence = gettext("“{typed}” is not a language; expected a tag as en or pt-BR.")
        return _checked(self.cleaned_data["language"], services.check_language, sentence)

    def clean_time_zone(self) -> str:
        sentence = gettext("“{typed}” is not a time zone; expected a name as America/New_York.")
        return _checked(self.cleaned_data["time_zone"], services.check_time_zone, sentence)


class HabitsForm(PlaceForm):
    """How one person is told, on all channels."""

    quiet_from = forms.TimeField(required=False)
    quiet_until = forms.TimeField(required=False)
    discreet = forms.CharField(required=False, max_length=8)
    fallback_min = forms.IntegerField(required=False, min_value=1, max_value=FALLBACK_MIN_MAX)
    wake_test_hour = forms.IntegerField(required=False, min_value=0, max_value=23)

    def __init__(self, typed: QueryDict | None) -> None:
        super().__init__(typed)
        for name in ("quiet_from", "quiet_until"):
            self.fields[name].error_messages["invalid"] = gettext(
                "This is not a time of day; expected one as 07:30."
            )
        sentence = gettext("Expected a number of minutes from 1 to {limit}.")
        for word in ("invalid", "min_value", "max_value"):
            self.fields["fallback_min"].error_messages[word] = sentence.format(
                limit=FALLBACK_MIN_MAX
            )
        for field in (self.fields["fallback_min"], self.fields["wake_test_hour"]):
            field.validators = []  # their own words are set above

    def clean_fallback_min(self) -> int:
        minutes = self.cleaned_data["fallback_min"]
        if minutes is not None and not 1 <= minutes <= FALLBACK_MIN_MAX:
            raise forms.ValidationError(self.fields["fallback_min"].error_messages["invalid"])
        return minutes or services.FALLBACK_AFTER_S // 60

    def clean_wake_test_hour(self) -> int | None:
        hour: int | None = self.cleaned_data["wake_test_hour"]
        if hour is not None and not 0 <= hour <= 23:
            raise forms.ValidationError(gettext("Expected an hour from 0 to 23."))
        return hour

    def clean(self) -> dict[str, Any]:
        start, end = self.cleaned_data.get("quiet_from"), self.cleaned_data.get("quiet_until")
        if (start is None) != (end is None) and not self.errors:
            self.add_error(
                "quiet_until" if end is None else "quiet_from",
                gettext("Quiet hours need a beginning and an end; leave both empty for none."),
            )
        return self.cleaned_data

    def habits(self) -> Habits:
        wanted = self.cleaned_data
        return Habits(
            language=wanted["language"] or "en",
            time_zone=wanted["time_zone"],
            quiet_from=wanted["quiet_from"],
            quiet_until=wanted["quiet_until"],
            discreet=wanted["discreet"].lower() in _YES,
            fallback_after_s=wanted["fallback_min"] * 60,
            wake_test_hour=wanted["wake_test_hour"],
        )


class AddressForm(forms.Form):
    """An address, and the channel that it fits unless one is named."""

    def __init__(self, typed: QueryDict | None, *, offered: Offered) -> None:
        super().__init__(typed)
        self.offered = offered
        labels = ", ".join(gettext(label) for label, _ in offered.values()) or gettext("none yet")
        self.fields["channel"] = forms.ChoiceField(
            required=False,
            choices=[(name, label) for name, (label, _) in offered.items()],
            error_messages={
                "invalid_choice": gettext(
                    "This way is not offered; choose among: {labels}."
                ).format(labels=labels),
            },
        )
        self.missing = gettext("Choose how we reach you: {labels}.").format(labels=labels)
        self.fields["address"] = forms.CharField(
            max_length=addresses.URL_CHARS_MAX,
            error_messages={
                "required": gettext("Type the address or number at which we reach you."),
                "max_length": gettext("This is too long for an address or a number."),
            },
        )

    def fitting(self, address: str) -> str:
        """Return the channel that an address looks like, "" for one that is not offered."""
        kind = services.kind_typed(address)
        if kind is Kind.URL:
            host = _host(address)
            named = (
                name for name, hosts in addresses.HOSTS.items() if addresses.is_of(host, hosts)
            )
            names = (*named, "webhook")
        else:
            names = ("email",) if kind is Kind.EMAIL else ("sms", services.WAKING_CHANNEL)
        return next((name for name in names if name in self.offered), "")

    def check_address(self, channel: str, address: str) -> None:
        try:
            self.cleaned_data["address"] = services.cleaned(
                channel, address, countries=settings.ENVIRON.phone_countries
            )
        except BadAddress as error:
            self.add_error("address", gettext(error.text).format(**error.values))


class SubscribeForm(AddressForm, PlaceForm):
    """Tell me or wake me, and an address; the rest is optional."""

    want = forms.CharField(required=False, max_length=8)
    wake_me = forms.CharField(required=False, max_length=8)
    incident = forms.CharField(required=False, max_length=INCIDENT_CHARS)
    website = forms.CharField(required=False)  # the honeypot: see the template

    def __init__(
        self, typed: QueryDict | None, *, components: Sequence[Component], offered: Offered
    ) -> None:
        super().__init__(typed, offered=offered)
        self.fields["components"] = ComponentsField(components)

    def clean_want(self) -> str:
        word: str = self.cleaned_data["want"]
        return word if word in ("tell", "wake") else ""

    def clean_wake_me(self) -> bool | None:
        """Return None when nothing was said of it."""
        word = self.cleaned_data["wake_me"].lower()
        return word in _YES if word else None

    def clean(self) -> dict[str, Any]:
        if "channel" in self.errors or "address" in self.errors:
            return self.cleaned_data
        want, address = self.cleaned_data.get("want", ""), self.cleaned_data["address"]
        named = self.cleaned_data["channel"]
        channel = named or (self._wanted(want, address) if want else "")
        self.cleaned_data["channel"] = channel
        if not channel:
            if not self.errors:
                self.add_error("channel", self.missing)
            return self.cleaned_data
        self.check_address(channel, address)
        self._check_waking(channel, want, named)
        return self.cleaned_data

    def _wanted(self, want: str, address: str) -> str:
        fitting = self.fitting(address)
        can_ring = (
            services.kind_typed(address) is Kind.PHONE and services.WAKING_CHANNEL in self.offered
        )
        if want == "wake" and not can_ring:
            if services.kind_typed(address) is not Kind.PHONE:
                self.add_error(
                    "address",
                    gettext(
                        "Only a phone call rings at night: type a telephone number, as +1 617 555 0123."
                    ),
                )
            return "" if self.errors else fitting
        return services.WAKING_CHANNEL if want == "wake" else fitting

    def _check_waking(self, channel: str, want: str, named: str) -> None:
        wake_me = self.cleaned_data.get("wake_me")
        if (wake_me or (want == "wake" and named)) and channel != services.WAKING_CHANNEL:
            self.add_error(
                "wake_me", gettext("Only a phone call rings at night; choose it above to be woken.")
            )
        # Who chooses to be called asks to be woken: a call is never made for anything else.
        self.cleaned_data["wake_me"] = channel == services.WAKING_CHANNEL and wake_me is not False


class AddForm(AddressForm):
    """A further channel of one's own."""

    def clean(self) -> dict[str, Any]:
        if "channel" in self.errors or "address" in self.errors:
            return self.cleaned_data
        address = self.cleaned_data["address"]
        channel = self.cleaned_data["channel"] or self.fitting(address)
        self.cleaned_data["channel"] = channel
        if not channel:
            self.add_error("channel", self.missing)
        else:
            self.check_address(channel, address)
        return self.cleaned_data


class ContactForm(AddressForm):
    """A further contact: a name, and a telephone number of theirs."""

    name = forms.CharField(
        max_length=80,
        error_messages={
            "required": gettext_lazy("Type a name by which you know this contact."),
            "max_length": gettext_lazy("This name is too long; 80 characters fit."),
        },
    )

    def clean(self) -> dict[str, Any]:
        if "address" in self.errors:
            return self.cleaned_data
        channel = next(
            (name for name in (services.WAKING_CHANNEL, "sms") if name in self.offered), ""
        )
        self.cleaned_data["channel"] = channel
        if not channel:
            self.add_error("address", gettext("Nobody can be called from here yet."))
        else:
            self.check_address(channel, self.cleaned_data["address"])
        return self.cleaned_data


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:
        return ""  # no address of the web, as check_address then says


def _checked(text: str, check: Callable[[str], None], sentence: str) -> str:
    try:
        check(text)
    except ValueError as error:
        raise forms.ValidationError(sentence.format(typed=text[:64])) from error
    return text
