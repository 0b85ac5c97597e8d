"""site.yaml as a checked value: read with line numbers, refused in one sentence, written back."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import time
from typing import Annotated, Any, Literal, get_args
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo

from desk import mappings
from incidents.lifecycle import Impact
from incidents.models import BODY_CHARS_MAX, NAME_CHARS_MAX
from probes import kinds
from probes.policy import COHORT_CHARS_MAX
from probes.verdict import VETO_S, Publish, Rule, Word

FILE_BYTES_MAX = 1024 * 1024  # the largest site we have seen is 40 KB
NODES_MAX = 50_000  # aliases count each time: a file of nested aliases must not eat the machine
DEPTH_MAX = 40
SLUG = re.compile(r"^[a-z0-9]+(?:[-_][a-z0-9]+)*$")
SLUG_CHARS_MAX = 64
DURATION_S_MAX = 30 * 24 * 3600
_A_SLUG = "a slug of letters, digits, hyphens and underscores, as follow-app"
_A_LOCATION = "a location's name of lower-case letters, digits and hyphens, as eu-west"
_A_NAME = f"a text of 1 to {NAME_CHARS_MAX} characters"
_SECONDS = "a number of seconds, 0 and up"


class BadSite(ValueError):
    """The file is wrong; the text is one sentence for each fault, the first one first."""

    def __init__(self, faults: Sequence["Fault"]) -> None:
        super().__init__("\n".join(str(fault) for fault in faults))
        self.faults = tuple(faults)


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong: where, and what was expected."""

    file: str
    line: int
    words: str

    def __str__(self) -> str:
        return f"{self.file} line {self.line}: {self.words}"


class _Words(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


Language = Annotated[str, Field(pattern=r"^[a-z]{2}(-[A-Za-z]{2,4})?$")]
Name = Annotated[str, Field(min_length=1, max_length=NAME_CHARS_MAX, description=_A_NAME)]
# All that a SlugField holds: what was named in the admin or over /v1 can be exported, and applied again.
Slug = Annotated[
    str, Field(description=_A_SLUG, pattern=r"^[-a-zA-Z0-9_]+$", max_length=SLUG_CHARS_MAX)
]
LocationName = Annotated[
    str, Field(description=_A_LOCATION, pattern=SLUG.pattern, max_length=SLUG_CHARS_MAX)
]
Zone = Annotated[str, Field(description="a time zone as America/New_York")]
Seconds = Annotated[float, Field(ge=0, le=DURATION_S_MAX, description=_SECONDS)]
Text = Annotated[
    str,
    Field(max_length=BODY_CHARS_MAX, description=f"a text of at most {BODY_CHARS_MAX} characters"),
]


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:  # ZoneInfoNotFoundError is a KeyError
        raise ValueError("unknown zone") from error
    return name


class PageWords(_Words):
    name: Name
    url: str = Field(default="", description="an address as https://status.example.org")
    time_zone: Zone = "Etc/UTC"
    languages: list[Language] = Field(
        default=["en"], min_length=1, description="a list of languages, as [en, es]"
    )

    _a_zone = field_validator("time_zone")(_zone)

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise ValueError("not an address")
        return url.rstrip("/")


class OperatorWords(_Words):
    name: Name
    channel: str = Field(description="a configured channel")
    address: str = Field(
        min_length=1, max_length=320, description="an address of the channel, in quotes"
    )


class ComponentWords(_Words):
    slug: Slug
    name: Name
    group: Name | None = None
    description: Text = ""
    critical: bool = Field(default=False, description="true or false")
    showcase: bool = Field(default=True, description="true or false")
    only_show_if_degraded: bool = Field(default=False, description="true or false")


class CheckWords(_Words):
    """What every check has; `spec` takes the keys of its kind, which the kind itself judges."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, allow_inf_nan=False)

    slug: Slug
    kind: str = Field(description=f"one of {', '.join(kinds.names())}")
    interval_s: int = Field(
        default=30, ge=1, le=DURATION_S_MAX, description="a whole number of seconds, 1 and up"
    )
    timeout_s: float = Field(
        default=10, gt=0, le=600, description="a number of seconds, above 0 and up to 600"
    )
    locations: list[LocationName] = Field(
        default=["local"], min_length=1, description="a list of locations' names, as [local]"
    )
    cohort: Annotated[str, Field(max_length=COHORT_CHARS_MAX)] = Field(
        default="", description=f"a text of at most {COHORT_CHARS_MAX} characters"
    )
    verdict: dict[str, Any] = Field(  # Any: numbers or null; probes.verdict.Rule judges them
        default={}, description="an object as {consecutive: 2}"
    )

    @model_validator(mode="before")
    @classmethod
    def _as_the_kind_needs_it(cls, raw: Any) -> Any:  # Any: whatever the file holds
        rule = kinds.rule_of(str(raw.get("kind"))) if isinstance(raw, dict) else {}
        verdict = raw.get("verdict", {}) if rule else None
        return {**raw, "verdict": {**rule, **verdict}} if isinstance(verdict, dict) else raw

    @property
    def spec(self) -> dict[str, Any]:  # Any: each kind reads its own keys
        return dict(self.model_extra or {})


class NightWords(_Words):
    from_: str = Field(alias="from", description='a time in quotes, as "22:00"')
    to: str = Field(description='a time in quotes, as "07:00"')
    time_zone: Zone
    veto_s: Seconds

    _a_zone = field_validator("time_zone")(_zone)

    @field_validator("from_", "to")
    @classmethod
    def _a_time(cls, text: str) -> str:
        time.fromisoformat(text)
        return text


class PolicyWords(_Words):
    component: Slug
    verdicts: list[Literal["degraded", "partial", "outage", "stale", "slow_burn", "unknown"]] = (
        Field(
            min_length=1,
            description=f"a list of verdicts out of {', '.join(word for word in Word if word is not Word.UP)}",
        )
    )
    publish: Literal["auto", "draft", "notify"] = Field(description=f"one of {', '.join(Publish)}")
    veto_s: Seconds = VETO_S
    publish_after_s: Seconds | None = None
    template: Slug | None = None
    night: NightWords | None = Field(
        default=None, description="an object with from, to, time_zone and veto_s"
    )


class AlertWords(_Words):
    match: dict[str, str] = Field(
        min_length=1, description="an object of labels and texts, as {severity: critical}"
    )
    component: Slug
    publish: Literal["auto", "draft", "notify"] = Field(description=f"one of {', '.join(Publish)}")
    veto_s: Seconds = VETO_S
    publish_after_s: Seconds | None = None
    template: Slug | None = None


_A_PATH = "a JMESPath, as alerts[0].status"
JmesPath = Annotated[str, Field(min_length=1, description=_A_PATH)]


class IntakeWords(_Words):
    """Where another program's JSON holds what an alert is; /intake/generic?mapping=NAME reads by it."""

    name: Annotated[str, Field(pattern=SLUG.pattern, max_length=16)] = Field(
        description="a name of at most 16 lower-case letters, digits and hyphens"
    )
    alerts: JmesPath | None = None
    status: JmesPath | None = None
    resolved: list[str] = Field(default=[], description="a list of words that mean it is over")
    labels: JmesPath | None = None
    summary: JmesPath | None = None
    fingerprint: JmesPath | None = None

    @field_validator("alerts", "status", "labels", "summary", "fingerprint")
    @classmethod
    def _a_path(cls, path: str | None) -> str | None:
        if path is not None:
            mappings.check(path)
        return path


class TranslationWords(_Words):
    name: Annotated[str, Field(max_length=NAME_CHARS_MAX)] = ""
    body: Annotated[str, Field(max_length=BODY_CHARS_MAX)] = ""
    what_to_do: Text = ""


class TemplateWords(_Words):
    slug: Slug
    name: Name
    impact: Literal["none", "minor", "major", "critical", "maintenance"] | None = Field(
        default=None, description=f"one of {', '.join(Impact)}"
    )
    body: Annotated[str, Field(min_length=1, max_length=BODY_CHARS_MAX)] = Field(
        description=f"a text of 1 to {BODY_CHARS_MAX} characters"
    )
    what_to_do: Text = ""
    translations: dict[Language, TranslationWords] = Field(
        default={}, description="language: an object with name, body and what_to_do"
    )
    next_update_in_s: int | None = Field(
        default=None, ge=1, le=DURATION_S_MAX, description="a whole number of seconds, 1 and up"
    )


class Site(_Words):
    """A whole site.yaml."""

    page: PageWords | None = Field(
        default=None, description="an object with name, url, time_zone and languages"
    )
    operators: list[OperatorWords] = Field(
        default=[], description="a list of objects with name, channel and address"
    )
    references: list[Annotated[str, Field(min_length=1, max_length=255)]] = Field(
        default=[], description="a list of host names"
    )
    components: list[ComponentWords] = Field(
        default=[], description="a list of objects with slug and name"
    )
    checks: list[CheckWords] = Field(default=[], description="a list of objects with slug and kind")
    policies: list[PolicyWords] = Field(
        default=[], description="a list of objects with component, verdicts and publish"
    )
    alerts: list[AlertWords] = Field(
        default=[], description="a list of objects with match, component and publish"
    )
    templates: list[TemplateWords] = Field(
        default=[], description="a list of objects with slug, name and body"
    )
    intake: list[IntakeWords] = Field(
        default=[], description="a list of objects with name and paths"
    )


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What outside of the file decides whether it is right."""

    channels: Sequence[str]
    site_url: str  # "" when SITE_URL is not set
    # Cleans an operator's address for a channel; raises ValueError in words.
    clean: Callable[[str, str], str]


class _Loader(yaml.SafeLoader):
    """Plain values only; a date stays a text, since JSON has no dates."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse(text: str, *, around: Surroundings, file: str = "site.yaml") -> Site:
    """Return the checked site. Raises BadSite naming line, key and what was expected."""
    source = _Source(file, text)
    try:
        site = Site.model_validate(source.value)
    except ValidationError as error:
        raise BadSite([source.fault_of(each) for each in error.errors(include_url=False)]) from None
    faults = list(_contradictions(site, source, around))
    if faults:
        raise BadSite(sorted(faults, key=lambda fault: fault.line))
    return site


class _Source:
    """The file as values, and the line each of them stands on."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.lines: dict[str, int] = {}
        self._nodes = 0
        if len(text.encode(errors="surrogatepass")) > FILE_BYTES_MAX:
            raise BadSite(
                [Fault(file, 1, f"the file is larger than {FILE_BYTES_MAX} bytes; expected less")]
            )
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
            if not isinstance(node, yaml.MappingNode):
                sections = ", ".join(Site.model_fields)
                raise BadSite(
                    [Fault(file, 1, f"the file holds no object; expected keys out of {sections}")]
                )
            self._walk(node, "", 0)
            self.value: dict[str, Any] = loader.construct_document(node)  # Any: YAML's plain values
        except BadSite:
            raise
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            words = " ".join(part for part in (error.problem, error.context) if part)
            raise BadSite(
                [Fault(file, mark.line + 1 if mark else 1, f"this is not YAML: {words}")]
            ) from None
        except (yaml.YAMLError, ValueError, RecursionError) as error:
            # A reader's error (a control character) has a position and no mark.
            line = text[: getattr(error, "position", 0) or 0].count("\n") + 1
            raise BadSite(
                [Fault(file, line, f"this is not YAML: {str(error).splitlines()[0]}")]
            ) from None
        finally:
            loader.dispose()

    def _walk(self, node: yaml.Node, key: str, depth: int) -> None:
        """Note the lines, and refuse what YAML lets pass: keys given twice, keys that are no text, no end."""
        self.lines.setdefault(key, node.start_mark.line + 1)
        self._nodes += 1
        if self._nodes > NODES_MAX or depth > DEPTH_MAX:
            raise self._bad(
                node, f"{key or 'the file'} goes too deep; expected at most {DEPTH_MAX} levels"
            )
        if isinstance(node, yaml.SequenceNode):
            for index, item in enumerate(node.value):
                self._walk(item, f"{key}[{index}]", depth + 1)
        elif isinstance(node, yaml.MappingNode):
            self._walk_mapping(node, key, depth)
        elif "\x00" in node.value:
            raise self._bad(node, f"{key} holds a NUL character; expected a text without it")

    def _walk_mapping(self, node: yaml.MappingNode, key: str, depth: int) -> None:
        seen: set[str] = set()
        for name, value in node.value:
            shown = _joined(key, str(name.value))
            if name.tag == "tag:yaml.org,2002:merge":
                self._walk(value, key, depth + 1)
                continue
            if name.tag != "tag:yaml.org,2002:str":
                raise self._bad(
                    name, f"{shown} is not a text; expected a key in letters, in quotes if need be"
                )
            if name.value in seen:
                raise self._bad(name, f"{shown} is given twice; expected it once")
            seen.add(name.value)
            self._walk(value, shown, depth + 1)
            self.lines[shown] = name.start_mark.line + 1

    def _bad(self, node: yaml.Node, words: str) -> BadSite:
        return BadSite([Fault(self.file, node.start_mark.line + 1, words)])

    def fault(self, key: str, words: str) -> Fault:
        """Return a fault at `key`, or at the nearest thing above it that stands in the file."""
        place = key
        while place not in self.lines and place:
            place = re.sub(r"(\.[^.\[\]]*|\[\d+\]|^[^.\[\]]+)$", "", place)
        return Fault(self.file, self.lines.get(place, 1), words)

    def wrong(self, key: str, expected: str) -> Fault:
        """Return the sentence: what stands there, and what was expected."""
        return self.fault(key, f"{key} is {_shown(self.at(key))}; expected {expected}")

    def at(self, key: str) -> object:
        """Return the value at `key`."""
        place: Any = self.value  # Any: YAML's plain values
        for name, index in re.findall(r"([^.\[\]]+)|\[(\d+)\]", key):
            place = place[int(index)] if index else place.get(name)
        return place

    def fault_of(self, error: Mapping[str, Any]) -> Fault:  # Any: pydantic's own rows
        loc = [
            part
            for part in error["loc"]
            if isinstance(part, int) or not str(part).startswith("function-")
        ]
        key = _key(loc)
        if error["type"] == "missing":
            expected = _description(Site, loc)
            return self.fault(key, f"{key} is missing; expected {expected}")
        if error["type"] == "extra_forbidden":
            above = _model(Site, loc[:-1]) or Site
            names = ", ".join(field.alias or name for name, field in above.model_fields.items())
            return self.fault(key, f"{key} is not known here; expected one of {names}")
        return self.wrong(key, _description(Site, loc))


def _key(loc: Sequence[int | str]) -> str:
    key = ""
    for part in loc:
        key = f"{key}[{part}]" if isinstance(part, int) else _joined(key, str(part))
    return key


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _shown(value: object) -> str:
    """Return a value as its writer would recognise it, short."""
    if value is None:
        return "empty"
    if isinstance(value, str):
        return f'"{value}"' if len(value) <= 60 else f'"{value[:60]}…"'
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "an empty list" if not value else "a list"
    return json.dumps(value) if isinstance(value, bool | int | float) else str(value)


def _model(model: type[BaseModel], loc: Sequence[int | str]) -> type[BaseModel] | None:
    """Return the model that describes the object at `loc`."""
    found: type[BaseModel] | None = model
    for part in loc:
        if isinstance(part, int):
            continue
        field = _field(found, str(part)) if found else None
        found = _model_in(field.annotation) if field else None
    return found


def _description(model: type[BaseModel], loc: Sequence[int | str]) -> str:
    """Return what was expected at `loc`: the words of the nearest field that has some."""
    names = [str(part) for part in loc if not isinstance(part, int)]
    words = "something else"
    found: type[BaseModel] | None = model
    for name in names:
        field = _field(found, name) if found else None
        if field is None:
            break
        words = _words(field) or words
        found = _model_in(field.annotation)
    if loc and isinstance(loc[-1], int) and found and words.startswith("a list of objects"):
        return words.replace("a list of objects", "an object")
    return words


def _words(field: FieldInfo) -> str | None:
    """Return a field's words; they may lie inside of `X | None`."""
    return field.description or _words_in(field.annotation)


def _words_in(annotation: object) -> str | None:
    if isinstance(annotation, FieldInfo):
        return annotation.description
    return next((words for part in get_args(annotation) if (words := _words_in(part))), None)


def _field(model: type[BaseModel], name: str) -> FieldInfo | None:
    by_alias = {field.alias or own: field for own, field in model.model_fields.items()}
    return by_alias.get(name)


def _model_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _model_in(part))), None)


# --- contradictions ---------------------------------------------------------------------------------------------------


def _contradictions(site: Site, source: _Source, around: Surroundings) -> Iterator[Fault]:
    """Yield what each key by itself cannot see."""
    yield from _twice(source, "components", [row.slug for row in site.components])
    yield from _twice(source, "checks", [row.slug for row in site.checks])
    yield from _twice(source, "templates", [row.slug for row in site.templates])
    yield from _twice(source, "intake", [row.name for row in site.intake], "name")
    yield from _other_url(site, source, around)
    yield from _operators(site, source, around)
    components = [row.slug for row in site.components]
    for index, check in enumerate(site.checks):
        yield from _check(check, f"checks[{index}]", source, components)
    templates = [row.slug for row in site.templates]
    acting: dict[str, Sequence[PolicyWords | AlertWords]] = {
        "policies": site.policies,
        "alerts": site.alerts,
    }
    for section, rows in acting.items():
        for index, row in enumerate(rows):
            key = f"{section}[{index}]"
            if row.component not in components:
                yield source.wrong(f"{key}.component", _one_of(components, "components"))
            if row.template and row.template not in templates:
                yield source.wrong(f"{key}.template", _one_of(templates, "templates"))


def _twice(
    source: _Source, section: str, slugs: Sequence[str], key: str = "slug"
) -> Iterator[Fault]:
    for index, slug in enumerate(slugs):
        if slug in slugs[:index]:
            yield source.wrong(f"{section}[{index}].{key}", f"each {key} only once")


def _other_url(site: Site, source: _Source, around: Surroundings) -> Iterator[Fault]:
    url = site.page.url if site.page else ""
    if url and around.site_url and url != around.site_url.rstrip("/"):
        yield source.wrong("page.url", f"the same as SITE_URL, {around.site_url}")


def _operators(site: Site, source: _Source, around: Surroundings) -> Iterator[Fault]:
    seen: set[tuple[str, str]] = set()
    for index, operator in enumerate(site.operators):
        key = f"operators[{index}]"
        if operator.channel not in around.channels:
            yield source.wrong(f"{key}.channel", f"one of {', '.join(around.channels)}")
            continue
        try:
            address = around.clean(operator.channel, operator.address)
        except ValueError as error:
            yield source.wrong(f"{key}.address", f"an address of {operator.channel}: {error}")
            continue
        if (operator.channel, address) in seen:
            yield source.wrong(f"{key}.address", "each address only once a channel")
        seen.add((operator.channel, address))


def _check(
    check: CheckWords, key: str, source: _Source, components: Sequence[str]
) -> Iterator[Fault]:
    try:
        Rule.parse(check.verdict)
    except ValueError as error:
        name, _, words = str(error).partition(": ")
        yield source.wrong(f"{key}.{name}", words.removeprefix("expected "))
    try:
        watches = kinds.load(check.kind).watches(check.spec)
    except kinds.BadSpec as error:
        for problem in error.problems:
            yield _problem(source, key, problem)
        return
    if words := kinds.wrong_interval(check.kind, check.spec, check.interval_s):
        place = f"{key}.interval_s"
        yield source.fault(place, f"{place} is {check.interval_s:,}; expected {words}")
    for name in sorted({watch.component for watch in watches} - set(components)):
        place = next((p for p in _places(check, key) if source.at(p) == name), key)
        yield source.fault(
            place, f'{place} is "{name}"; expected {_one_of(components, "components")}'
        )


def _problem(source: _Source, check: str, problem: kinds.Problem) -> Fault:
    """Put a kind's own words into the sentence everybody else uses."""
    key = check if problem.key == "check" else f"{check}.{problem.key}"
    if not problem.words.startswith("expected "):
        return source.fault(key, f"{key}: {problem.words}")
    try:
        value = source.at(key)
    except (KeyError, IndexError, AttributeError, TypeError):
        value = None
    stands = "is missing" if value is None else f"is {_shown(value)}"
    return source.fault(key, f"{key} {stands}; {problem.words}")


def _places(check: CheckWords, key: str) -> Iterator[str]:
    """Yield where a check may name a component."""
    for part, steps in check.spec.items():
        for index, step in enumerate(steps if isinstance(steps, list) else ()):
            if isinstance(step, dict) and "component" in step:
                yield f"{key}.{part}[{index}].component"
    yield from (f"{key}.{name}" for name in check.spec if name.endswith("component"))


def _one_of(slugs: Sequence[str], section: str) -> str:
    return (
        f"one of {section}: {', '.join(slugs)}" if slugs else f"a slug of {section}, which is empty"
    )


# --- writing ----------------------------------------------------------------------------------------------------------

# jsonb forgets the order of keys: what stands here comes first, in this order, the rest by name.
_ORDER = [
    "slug",
    "name",
    "kind",
    "path",
    "interval_s",
    "timeout_s",
    "allow_private",
    "locations",
    "cohort",
    "component",
    "login_component",
    "method",
    "url",
    "accounts",
    "headers",
    "json",
    "form",
    "body",
    "write",
    "read",
    "steps",
    "expect",
    "status",
    "content_type",
    "equals",
    "type",
    "min_length",
    "between",
    "matches",
    "contains",
    "exists",
    "max_age_s",
    "max_future_s",
    "degraded_over_s",
    "save",
    "verdict",
]


def dump(site: Site) -> str:
    """Return the site as site.yaml; parse(dump(site)) is the site again."""
    sections = site.model_dump(by_alias=True, exclude_defaults=True)
    for check in sections.get("checks", ()):
        rest = {
            name: check.pop(name) for name in list(check) if name not in CheckWords.model_fields
        }
        check |= rest
    sections["checks"] = [_ordered(check) for check in sections.get("checks", ())]
    shown = {name: sections[name] for name in Site.model_fields if sections.get(name)}
    return yaml.dump(shown, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def _ordered(value: Any) -> Any:  # Any: JSON
    if isinstance(value, list):
        return [_ordered(item) for item in value]
    if not isinstance(value, dict):
        return value
    rank = {name: index for index, name in enumerate(_ORDER)}
    names = sorted(value, key=lambda name: (rank.get(name, len(rank)), name))
    return {name: _ordered(value[name]) for name in names}
