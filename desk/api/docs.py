"""/v1/docs: the operations as a plain page; nothing is loaded from elsewhere."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from ninja import NinjaAPI
from ninja.openapi.docs import DocsBase

from desk.api import reference


class PlainDocs(DocsBase):
    """Every path with its methods, its parameters and the fields of its body."""

    def render_page(
        self, request: HttpRequest, api: NinjaAPI, **kwargs: Any
    ) -> HttpResponse:  # Any: ninja's signature
        schema: dict[str, Any] = api.get_openapi_schema()  # Any: OpenAPI
        operations = [
            {
                "method": method.upper(),
                "path": path,
                "summary": words.get("summary", ""),
                "parameters": [
                    row["name"] for row in words.get("parameters", []) if row["in"] == "query"
                ],
                "fields": _fields(schema, words),
            }
            for path, methods in schema["paths"].items()
            for method, words in methods.items()
        ]
        shown = {
            "operations": operations,
            "openapi": self.get_openapi_url(api, kwargs),
            "title": api.title,
        }
        return render(request, "desk/api_docs.html", shown)


def _fields(schema: dict[str, Any], words: dict[str, Any]) -> list[str]:  # Any: OpenAPI
    """Return the body's fields with their envelope, as `incident[name]`."""
    found = []
    for name, field in reference.properties(schema, reference.body(words)).items():
        inner = reference.properties(schema, field)
        found += [f"{name}[{each}]" for each in inner] or [name]
    return found
