"""A journey's steps as site.yaml writes them: requests, and what their answers have to be."""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, model_validator

from probes.conditions import TYPES, BadCondition, compile_pattern
from probes.facts import Problem
from probes.options import JmesPath, Strict
from probes.values import MARK

STEPS_MAX: Final = 20
EXPECTATIONS_MAX: Final = 50


def _a_pattern(pattern: str) -> str:
    compile_pattern(pattern)
    return pattern


def _a_type(name: str) -> str:
    if name not in TYPES:
        raise BadCondition(f"expected one of {', '.join(TYPES)}, not {name!r}")
    return name


class Expectation(Strict):
    """What one value of the body has to be; without a path, the body as text."""

    path: JmesPath | None = None
    equals: Any = None  # Any: whatever JSON can hold.
    not_equals: Any = None
    type: Annotated[str, AfterValidator(_a_type)] | None = None
    min_length: Annotated[int, Field(ge=0)] | None = None
    between: tuple[float, float] | None = None
    matches: Annotated[str, AfterValidator(_a_pattern)] | None = None
    contains: Any = None
    exists: bool | None = None
    max_age_s: Annotated[float, Field(ge=0)] | None = None
    max_future_s: Annotated[float, Field(ge=0)] | None = None

    @model_validator(mode="after")
    def _asks_something(self) -> "Expectation":
        if not self.model_fields_set - {"path"}:
            raise ValueError("expected a condition next to the path, such as `exists: true`")
        return self

    def asked(self) -> dict[str, Any]:
        """Return the conditions that were written, `equals: null` too."""
        return self.model_dump(exclude_unset=True, exclude={"path"})


class Expect(Strict):
    """What an answer has to be."""

    status: int | tuple[int, ...] | None = None
    content_type: str | None = None
    body: Annotated[tuple[Expectation, ...], Field(max_length=EXPECTATIONS_MAX)] = ()
    # In the same words as `body`; what is not met is a warning and no failure.
    warn: Annotated[tuple[Expectation, ...], Field(max_length=EXPECTATIONS_MAX)] = ()
    degraded_over_s: Annotated[float, Field(gt=0)] | None = None

    def statuses(self) -> tuple[int, ...]:
        """Return the status codes that are right; empty means any of 200 to 299."""
        if self.status is None:
            return ()
        return (self.status,) if isinstance(self.status, int) else self.status


class Step(Strict):
    """One request of the journey."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    component: str | None = None
    method: Annotated[str, Field(pattern=r"^[A-Z]{3,10}$")] = "GET"
    url: Annotated[str, Field(min_length=1, max_length=2000)]
    headers: dict[str, str] = {}
    json_: Annotated[Any, Field(alias="json")] = None  # Any: whatever JSON can hold.
    form: dict[str, str] | None = None
    body: str | None = None
    expect: Expect = Expect()
    save: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], JmesPath] = {}


Steps = Annotated[tuple[Step, ...], Field(min_length=1, max_length=STEPS_MAX)]


def problems_of(
    steps: Sequence[Step],
    component: str | None,
    *,
    key: str = "steps",
    known: Iterable[str] = (),
    named: Iterable[str] = (),
) -> list[Problem]:
    """Return what is wrong with steps that each read well: components, names, unsaved values.

    `known` are values that steps may use from the start, `named` are names that are taken.
    """
    taken = set(named)
    saved = set(known)
    problems: list[Problem] = []
    for index, step in enumerate(steps):
        if not (step.component or component):
            words = "expected a component here or on the check"
            problems.append(Problem(f"{key}[{index}].component", words))
        if step.name in taken:
            problems.append(Problem(f"{key}[{index}].name", "expected each name only once"))
        taken.add(step.name)
        for name in _marks(step) - saved:
            words = f"{{{name}}} was saved by no earlier step"
            problems.append(Problem(f"{key}[{index}]", words))
        saved |= set(step.save)
    return problems


def _marks(step: Step) -> set[str]:
    texts = [step.url, *step.headers.values(), *payload_of(step)]
    return {found[2] for text in texts for found in MARK.finditer(text) if found[2]}


def payload_of(step: Step) -> list[str]:
    """Return the texts of what a step sends in its body."""
    return [json.dumps(step.json_), *(step.form or {}).values(), step.body or ""]
