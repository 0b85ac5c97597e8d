"""The calls of /v1 as the table that stands in docs/reference.md: made of the OpenAPI, never by hand."""

from typing import Any

from desk.api.description import PREFIX

BEGIN = "<!-- The table is printed by `./run manage api_reference`; tests/test_docs.py holds it to the OpenAPI. -->"
END = "<!-- End of the table. -->"
_HEAD = ("| call | what | query | body | answer |", "|---|---|---|---|---|")

Words = dict[str, Any]  # Any: OpenAPI


def table(schema: Words) -> str:
    """Return the table with its marks; a call with two methods that do the same is one line."""
    rows: dict[tuple[str, str], list[str]] = {}
    for path, methods in schema["paths"].items():
        for method, words in methods.items():
            said = _row(schema, words)
            rows.setdefault((path.removeprefix(PREFIX), said), []).append(method.upper())
    lines = [f"| {' '.join(methods)} `{path}` | {said} |" for (path, said), methods in rows.items()]
    return "\n".join([BEGIN, "", *_HEAD, *lines, "", END])


def _row(schema: Words, words: Words) -> str:
    query = [row["name"] for row in words.get("parameters", []) if row["in"] == "query"]
    answered = next(status for status in words["responses"] if status < "300")
    cells = (
        words.get("summary", ""), _listed(query), fields(schema, words),
        f"{answered} {_type(words['responses'][answered])}".strip(),
    )  # fmt: skip
    return " | ".join(cells)


def fields(schema: Words, words: Words) -> str:
    """Return the body's fields, in their envelope when they have one."""
    parts = []
    for name, field in properties(schema, body(words)).items():
        inner = properties(schema, field)
        parts.append(f"`{name}`: {_listed(inner)}" if inner else f"`{name}`")
    return "; ".join(parts)


def _listed(names: Any) -> str:  # Any: names in order
    return ", ".join(f"`{name}`" for name in names)


def body(words: Words) -> Words:
    """Return the schema of the body, {} without one."""
    content: Words = words.get("requestBody", {}).get("content", {})
    found: Words = content.get("application/json", {}).get("schema", {})
    return found


def properties(schema: Words, field: Words) -> Words:
    """Return the fields of the model that a field refers to; none for a plain one."""
    inside = [field, *field.get("anyOf", []), *field.get("allOf", [])]
    reference = next((each["$ref"] for each in inside if "$ref" in each), "")
    model = schema["components"]["schemas"].get(reference.rpartition("/")[2], {})
    found: Words = model.get("properties", {})
    return found


def _type(answer: Words) -> str:
    said = answer.get("content", {}).get("application/json", {}).get("schema", {})
    if said.get("type") == "array":
        return f"list of {_name(said['items'])}"
    return _name(said)


def _name(said: Words) -> str:
    return str(said.get("$ref", "")).rpartition("/")[2] or (
        "points" if "additionalProperties" in said else ""
    )
