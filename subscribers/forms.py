"""The forms of people: what was typed, checked field by field, each mistake said in one sentence."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from django import forms
from django.http import QueryDict

from incidents.models import Component
from subscribers import addresses, services
from subscribers.addresses import BadAddress, Kind

# Shown on the form and kept word for word as proof: channels.md §4.1, "Consent".
CONSENT_TEXT = (
    "I ask to be written to at this address when something is wrong, planned or mended. For text "
    "messages, message and data rates may apply; reply STOP to end. I can leave at any time by the "
    "link in every message."
)
WAKE_TEXT = "I ask to be called, also at night, when a critical part does not work."
COMPONENTS_MAX = 200  # more were never on a page; bounds the work of one request
_YES = frozenset({"1", "on", "true", "yes"})


class ComponentsField(forms.Field):
    """Slugs, as repeated fields or in one separated by comma or bar; nothing chosen means everything."""

    def __init__(self, components: Sequence[Component]) -> None:
        super().__init__(required=False)
        self.by_slug = {component.slug: component for component in components}

    def clean(self, value: Any) -> list[Component]:  # Django hands in whatever the widget read
        slugs = [slug for text in value or () for slug in re.split(r"[,|\s]+", text) if slug]
        if len(slugs) > COMPONENTS_MAX:
            raise forms.ValidationError(f"At most {COMPONENTS_MAX} parts can be chosen.")
        unknown = [slug for slug in slugs if slug not in self.by_slug]
        if unknown:
            raise forms.ValidationError(
                f"There is no part “{unknown[0][:64]}”; choose among those listed."
            )
        return [self.by_slug[slug] for slug in dict.fromkeys(slugs)]


class PreferencesForm(forms.Form):
    """What to hear of, in which language, by whose clock."""

    def __init__(self, typed: QueryDict | None, *, components: Sequence[Component]) -> None:
        super().__init__(typed)
        self.fields["components"] = ComponentsField(components)
        self.fields["components"].widget = forms.SelectMultiple()
        self.fields["language"] = forms.CharField(required=False, max_length=10)
        self.fields["time_zone"] = forms.CharField(required=False, max_length=64)
        self.fields["wake_me"] = forms.CharField(required=False, max_length=8)

    def clean_language(self) -> str:
        return _checked(self.cleaned_data["language"], services.check_language)

    def clean_time_zone(self) -> str:
        return _checked(self.cleaned_data["time_zone"], services.check_time_zone)

    def clean_wake_me(self) -> bool | None:
        """Return None when nothing was said of it."""
        word = self.cleaned_data["wake_me"].lower()
        return word in _YES if word else None


class SubscribeForm(PreferencesForm):
    """A channel and an address; the rest is optional."""

    def __init__(
        self,
        typed: QueryDict | None,
        *,
        components: Sequence[Component],
        offered: Mapping[str, tuple[str, Kind]],
    ) -> None:
        super().__init__(typed, components=components)
        self.offered = offered
        labels = ", ".join(label for label, _ in offered.values()) or "none yet"
        self.fields["channel"] = forms.ChoiceField(
            choices=[(name, label) for name, (label, _) in offered.items()],
            error_messages={
                "required": f"Choose how we reach you: {labels}.",
                "invalid_choice": f"This way is not offered; choose among: {labels}.",
            },
        )
        self.fields["address"] = forms.CharField(
            max_length=addresses.URL_CHARS_MAX,
            error_messages={
                "required": "Type the address or number at which we reach you.",
                "max_length": "This is too long for an address or a number.",
            },
        )

    def clean(self) -> dict[str, Any]:
        channel, address = self.cleaned_data.get("channel"), self.cleaned_data.get("address")
        if channel and address:
            try:
                self.cleaned_data["address"] = services.cleaned(channel, address)
            except BadAddress as error:
                self.add_error("address", str(error))
        wake_me = self.cleaned_data.get("wake_me")
        if wake_me and channel and channel != services.WAKING_CHANNEL:
            self.add_error(
                "wake_me", "Only a phone call rings at night; choose it above to be woken."
            )
        # Who chooses to be called asks to be woken: a call is never made for anything else.
        self.cleaned_data["wake_me"] = channel == services.WAKING_CHANNEL and wake_me is not False
        return self.cleaned_data


def _checked(text: str, check: Callable[[str], None]) -> str:
    try:
        check(text)
    except ValueError as error:
        raise forms.ValidationError(str(error)) from error
    return text
