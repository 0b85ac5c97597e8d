"""/intake/alertmanager and /intake/generic: where other systems hand in alerts."""

import json
import re
from collections.abc import Callable
from typing import Any, Literal

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST
from pydantic import BaseModel, Field, ValidationError

from desk import intake, keys, mappings
from desk.api.failures import sentence
from desk.intake import Alert
from desk.models import IntakeMapping

# Of one request. Alertmanager sends a whole group at once: a storm must not be refused for its size.
ALERTS_MAX = 20_000
BODY_BYTES_MAX = 32 * 1024 * 1024
LABELS_MAX = 100
SUMMARY_CHARS_MAX = 2000
# What PostgreSQL takes in no text, NUL and halves of surrogate pairs: as JSON may bring it, and once it is read.
_BRINGS_UNSTORABLE = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|\xed[\xa0-\xbf]")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


class ManagedAlert(BaseModel):
    """One alert of Alertmanager's webhook, version 4; its other keys are ignored."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str] = Field(default={}, max_length=LABELS_MAX)
    annotations: dict[str, str] = Field(default={}, max_length=LABELS_MAX)
    fingerprint: str = ""


class ManagedAlerts(BaseModel):
    alerts: list[ManagedAlert] = Field(max_length=ALERTS_MAX)


class GenericAlert(BaseModel):
    """What anything can send with one line of shell."""

    status: Literal["firing", "resolved"] = "firing"
    labels: dict[str, str] = Field(default={}, max_length=LABELS_MAX)
    summary: str = Field(default="", max_length=SUMMARY_CHARS_MAX)
    fingerprint: str = ""


@csrf_exempt  # other programs have a key, no session
@require_POST
def alertmanager(request: HttpRequest) -> HttpResponse:
    return _answer(
        request,
        lambda body: [_managed(alert) for alert in ManagedAlerts.model_validate(body).alerts],
    )


@csrf_exempt  # as above
@require_POST
def generic(request: HttpRequest) -> HttpResponse:
    """Take our own small shape, or any other by `?mapping=NAME` of site.yaml's `intake`."""
    name = _storable(request.GET.get("mapping", ""))
    if not name:
        return _answer(request, lambda body: [_generic(GenericAlert.model_validate(body))])
    mapping = IntakeMapping.objects.filter(name=name).first()
    if mapping is None:
        known = ", ".join(IntakeMapping.objects.values_list("name", flat=True)) or "none"
        return _error(
            422, f'mapping is "{name[:64]}"; expected one of site.yaml\'s intake: {known}'
        )
    return _answer(request, lambda body: _mapped(mapping, body))


def _mapped(mapping: IntakeMapping, body: Any) -> list[Alert]:  # Any: JSON
    rows = mappings.read(mapping.paths, body)
    if len(rows) > ALERTS_MAX:
        raise mappings.Unmapped(f"{len(rows):,} alerts; allowed are {ALERTS_MAX:,} in one request")
    return [_generic(GenericAlert.model_validate(row), source=mapping.name) for row in rows]


def _managed(alert: ManagedAlert) -> Alert:
    notes = alert.annotations
    said = (notes.get("summary"), notes.get("description"), alert.labels.get("alertname"))
    summary = next((text.strip() for text in said if text and text.strip()), "")
    return Alert(
        source="alertmanager", fingerprint=intake.fingerprint(alert.labels, alert.fingerprint), labels=alert.labels,
        summary=summary[:SUMMARY_CHARS_MAX], is_over=alert.status == "resolved",
    )  # fmt: skip


def _generic(alert: GenericAlert, *, source: str = "generic") -> Alert:
    return Alert(
        source=source, fingerprint=intake.fingerprint(alert.labels or {"summary": alert.summary}, alert.fingerprint),
        labels=alert.labels, summary=alert.summary.strip(), is_over=alert.status == "resolved",
    )  # fmt: skip


def _answer(request: HttpRequest, read: Callable[[Any], list[Alert]]) -> HttpResponse:  # Any: JSON
    refused = _refuse_key(request)
    if refused:
        return refused
    # Read, not .body: a storm is larger than what a form may be.
    raw = request.read(BODY_BYTES_MAX + 1)
    if len(raw) > BODY_BYTES_MAX:
        return _error(413, f"the body is larger than {BODY_BYTES_MAX:,} bytes; expected less")
    if b"\x00" in raw:
        return _error(400, "the body holds a NUL character; remove it")
    try:
        body = json.loads(raw)
        alerts = read(_storable(body) if _BRINGS_UNSTORABLE.search(raw) else body)
    except mappings.Unmapped as error:
        return _error(422, str(error))
    except RecursionError:
        return _error(400, "the body is not JSON: it is nested too deep")
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        return _error(422, sentence(first["loc"], first))
    except ValueError as error:
        return _error(400, f"the body is not JSON: {error}")
    return JsonResponse(
        {"received": len(alerts), "new": intake.take_in(alerts, now=timezone.now())}
    )


def _storable(value: Any) -> Any:  # Any: JSON
    """Return it with a mark in place of what a database takes in no text: an alert is not lost for a strange label."""
    if isinstance(value, str):
        return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    return [_storable(item) for item in value] if isinstance(value, list) else value


def _refuse_key(request: HttpRequest) -> HttpResponse | None:
    scheme, _, secret = request.headers.get("Authorization", "").partition(" ")
    key = keys.find(secret.strip(), now=timezone.now()) if scheme.lower() == "bearer" else None
    if key is None:
        return _error(401, "no valid key; expected the header Authorization: Bearer KEY")
    return (
        None
        if keys.may(key, keys.Scope.INTAKE)
        else _error(403, f'the key "{key.name}" may not hand in alerts')
    )


def _error(status: int, said: str) -> JsonResponse:
    return JsonResponse({"error": said, "message": said}, status=status)
