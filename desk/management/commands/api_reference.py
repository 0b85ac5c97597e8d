"""The calls of /v1 as the table of docs/reference.md."""

from typing import Any

from desk.api import reference
from desk.api.v1 import api
from desk.management.commands._command import DeskCommand


class Command(DeskCommand):
    help = "Print the table of /v1's calls that stands in docs/reference.md, made of the OpenAPI."
    example = "./run manage api_reference"

    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        self.stdout.write(reference.table(api.get_openapi_schema()))
