"""A check's own keys, read strictly and refused by name."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from probes.conditions import compile_path
from probes.facts import BadSpec, Problem


class Strict(BaseModel):
    """Keys that are not known are refused, so that a misspelt one is found."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _a_path(path: str) -> str:
    compile_path(path)
    return path


JmesPath = Annotated[str, AfterValidator(_a_path)]
Options = TypeVar("Options", bound=Strict)


def read_options(model: type[Options], spec: Mapping[str, Any]) -> Options:
    """Read a check's own keys; raise BadSpec naming each wrong one."""
    try:
        return model.model_validate(dict(spec))
    except ValidationError as error:
        raise BadSpec(tuple(_problem_of(each) for each in error.errors())) from None


def _problem_of(error: Mapping[str, Any]) -> Problem:  # Any: pydantic's own rows.
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    return Problem(key.lstrip(".") or "check", message[:1].lower() + message[1:])
