"""The API object: all routers, keys, errors."""

from ninja import NinjaAPI

from desk.api import components, groups, incidents, pages, reach, subscribers
from desk.api.docs import PlainDocs
from desk.api.entrance import BodyParser, KeyAuth, install_errors

api = NinjaAPI(
    title="Status page: management API",
    version="1",
    description="In the shape of Statuspage's API v1. Every path works with and without `.json`; bodies are JSON or forms.",
    auth=KeyAuth(),
    parser=BodyParser(),
    docs=PlainDocs(),
    docs_url="/docs",
    openapi_url="/openapi.json",
    urls_namespace="v1",
)
for each in (pages, components, groups, incidents, reach, subscribers):
    api.add_router("", each.router)
install_errors(api)
