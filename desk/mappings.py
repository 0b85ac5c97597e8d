"""Any program's JSON as alerts, by JMESPath."""

import json
from collections.abc import Mapping
from typing import Any

import jmespath
from jmespath.exceptions import JMESPathError

PATH_CHARS_MAX = 500
# What may be said, and what holds when it is not: one alert that fires, told apart by its labels.
NAMES = ("alerts", "status", "resolved", "labels", "summary", "fingerprint")
RESOLVED = ("resolved", "ok", "normal", "inactive", "closed", "up")
SHOWN_CHARS_MAX = 60


class Unmapped(ValueError):
    """The mapping does not fit what came; one sentence."""


def check(path: str) -> None:
    """Raise ValueError unless this is a JMESPath."""
    if len(path) > PATH_CHARS_MAX:
        raise ValueError(f"longer than {PATH_CHARS_MAX} characters")
    try:
        jmespath.compile(path)
    except JMESPathError as error:
        raise ValueError(str(error)) from error


def read(paths: Mapping[str, Any], body: Any) -> list[dict[str, Any]]:  # Any: JSON
    """Return the alerts in our own small shape. Raises Unmapped."""
    rows = _at(paths.get("alerts") or "@", body)
    if rows is None:
        raise Unmapped(f"alerts: {paths.get('alerts')} finds nothing in this body")
    rows = rows if isinstance(rows, list) else [rows]
    over = {str(word).lower() for word in paths.get("resolved") or RESOLVED}
    return [_alert(paths, row, over) for row in rows]


def _alert(paths: Mapping[str, Any], row: Any, over: set[str]) -> dict[str, Any]:  # Any: JSON
    stands = _text(_at(paths["status"], row)).lower() if paths.get("status") else ""
    labels = _at(paths["labels"], row) if paths.get("labels") else {}
    if not isinstance(labels, dict):
        raise Unmapped(f"labels: {paths['labels']} finds {_shown(labels)}; expected an object")
    return {
        "status": "resolved" if stands in over else "firing",
        "labels": {str(name): _text(value) for name, value in labels.items()},
        "summary": _text(_at(paths["summary"], row))[:2000] if paths.get("summary") else "",
        "fingerprint": _text(_at(paths["fingerprint"], row)) if paths.get("fingerprint") else "",
    }


def _at(path: str, value: Any) -> Any:  # Any: JSON
    try:
        return jmespath.search(path, value)
    except JMESPathError as error:
        raise Unmapped(f"{path}: {error}") from error


def _text(value: Any) -> str:  # Any: JSON
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _shown(value: Any) -> str:  # Any: JSON
    return json.dumps(value)[:SHOWN_CHARS_MAX]
