"""The columns of Statuspage's own export of subscribers, read as ours."""

from collections.abc import Mapping, Sequence

import phonenumbers

# Its Subscriber's fields; its import template says Type for mode. What else a file has is left unread.
MODE = ("mode", "type")
ADDRESS = {"email": "email", "sms": "phone_number", "webhook": "endpoint", "slack": "endpoint", "teams": "endpoint"}  # fmt: skip
SOURCE = "statuspage"


def plain(name: str) -> str:
    """Return a column's name as the export writes it: `Phone Number` is phone_number."""
    return name.strip().lower().replace(" ", "_")


def is_one(header: Sequence[str]) -> bool:
    """Say whether these are Statuspage's columns, not ours."""
    names = {plain(name) for name in header}
    return (
        "channel" not in names and bool(names & set(MODE)) and bool(names & set(ADDRESS.values()))
    )


def as_ours(row: Mapping[str, str], known: Mapping[str, str]) -> dict[str, str]:
    """Return the row in our columns; `known` maps a component's id, name and slug to its slug.

    Who was confirmed over there had asked: the date is when the row was created. Raises ValueError.
    """
    mode = next((row[name].lower() for name in MODE if row.get(name)), "")
    if mode not in ADDRESS:
        raise ValueError(f'mode is "{mode[:32]}"; expected one of {", ".join(ADDRESS)}.')
    if row.get("quarantined_at"):
        raise ValueError("It was quarantined over there: messages to it came back.")
    address = row.get(ADDRESS[mode], "")
    if mode == "sms":
        address = _international(address, row.get("phone_country") or "US")
    waiting = (row.get("state") or "active").lower() == "unconfirmed"
    return {
        "channel": mode, "address": address, "components": "|".join(_slugs(row.get("components", ""), known)),
        "consent_source": "" if waiting else SOURCE, "consent_at": "" if waiting else row.get("created_at", ""),
    }  # fmt: skip


def _international(number: str, country: str) -> str:
    try:
        parsed = phonenumbers.parse(number, country.upper())
    except phonenumbers.NumberParseException:
        raise ValueError(
            f'phone_number is no telephone number of phone_country "{country[:8]}".'
        ) from None
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164)


def _slugs(text: str, known: Mapping[str, str]) -> list[str]:
    """Return slugs of a list as `["id", "id"]`, `id;id` or `name, name`."""
    words = text.strip("[]").replace(";", ",").replace("|", ",").split(",")
    named = [word.strip().strip("\"'") for word in words if word.strip().strip("\"'")]
    missing = [name for name in named if name not in known]
    if missing:
        raise ValueError(f'components names "{missing[0][:64]}"; there is no such component here.')
    return [known[name] for name in named]
