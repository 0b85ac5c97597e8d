"""The OpenAPI 3.1 description: ninja's, with what every call answers and how it fails."""

from typing import Any

from ninja import NinjaAPI
from ninja.errors import ValidationError, ValidationErrorContext
from ninja.openapi.schema import OpenAPISchema
from pydantic import TypeAdapter

from desk.api import answers
from desk.api.entrance import ANSWERS

PREFIX = "/v1"
_REF = "#/components/schemas/{model}"
_JSON = "application/json"
_FAILURES = {
    400: "The body is not JSON and no form, or the address cannot be read.",
    401: "No valid key.",
    403: "The key may not do this.",
    404: "There is no such thing.",
    413: "The body is too large.",
    422: "A field is wrong; the sentence names it, its value and what is allowed.",
    429: "The key has made its requests of this minute; Retry-After says when to come again.",
}
_MEANINGS = {200: "Done", 201: "Created", 202: "Taken", 204: "Deleted; no body"}
_LIMITS = ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset")

Words = dict[str, Any]  # Any: OpenAPI


class DescribedAPI(NinjaAPI):
    """NinjaAPI whose description says what desk/api/answers.py promises."""

    def validation_error_from_error_contexts(
        self, error_contexts: list[ValidationErrorContext[Any]]
    ) -> ValidationError:
        """Return ninja's own error with the value that was given, which it leaves out."""
        error = super().validation_error_from_error_contexts(error_contexts)
        given = [
            each.get("input")
            for context in error_contexts
            for each in context.pydantic_validation_error.errors(include_url=False)
        ]
        for row, value in zip(error.errors, given, strict=True):
            row["input"] = value
        return error

    def get_openapi_schema(self, **kwargs: Any) -> OpenAPISchema:  # Any: ninja's own
        schema = super().get_openapi_schema(**kwargs)
        schemas: Words = schema["components"]["schemas"]
        schemas["Error"] = _schema(answers.Error, schemas)
        for path, methods in schema["paths"].items():
            for method, words in methods.items():
                _describe(path.removeprefix(PREFIX), method.upper(), words, schemas)
        return schema


def _describe(path: str, method: str, words: Words, schemas: Words) -> None:
    status, answer = ANSWERS[method, path]
    said: Words = {"description": _MEANINGS[status], "headers": _headers()}
    if answer is not None:
        said["content"] = {_JSON: {"schema": _schema(answer, schemas)}}
    elif status != 204:
        said["content"] = {_JSON: {"schema": {"type": "object", "maxProperties": 0}}}
    failing = {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}}
    expected = {
        str(code): {"description": why, "content": failing} for code, why in _FAILURES.items()
    }
    words["responses"] = {str(status): said} | expected
    if method in ("POST", "PATCH", "PUT"):
        words.setdefault("parameters", []).append({
            "name": "Idempotency-Key", "in": "header", "required": False,
            "schema": {"type": "string", "maxLength": 255, "pattern": "^[!-~]*$"},
            "description": "The same key is the same request for a day: it is done once, and answered the same.",
        })  # fmt: skip


def _headers() -> Words:
    return {name: {"schema": {"type": "string", "pattern": "^[0-9]+$"}} for name in _LIMITS}


def _schema(answer: Any, schemas: Words) -> Words:
    """Return the type's schema, its models put among the others by name."""
    found = TypeAdapter(answer).json_schema(ref_template=_REF, mode="serialization")
    schemas |= found.pop("$defs", {})
    if "title" in found and found.get("type") == "object" and "properties" in found:
        name = found["title"]
        schemas[name] = found
        return {"$ref": _REF.format(model=name)}
    return found
