"""The API object: all routers, keys, errors."""

from desk.api import (
    components,
    embed,
    failures,
    followers,
    groups,
    incidents,
    metrics,
    pages,
    postmortems,
    reach,
    subscribers,
    sync,
    templates,
    uptime,
)
from desk.api.description import DescribedAPI
from desk.api.docs import PlainDocs
from desk.api.entrance import BodyParser, KeyAuth
from desk.api.rendering import FastJSON

api = DescribedAPI(
    title="Status page: management API",
    version="1",
    description="In the shape of Statuspage's API v1. Every path works with and without `.json`; bodies are JSON or forms.",
    auth=KeyAuth(),
    parser=BodyParser(),
    renderer=FastJSON(),
    docs=PlainDocs(),
    docs_url="/docs",
    openapi_url="/openapi.json",
    urls_namespace="v1",
)
_ROOMS = (
    pages, components, uptime, groups, incidents, postmortems, followers, reach, sync, subscribers, templates, metrics, embed,
)  # fmt: skip
for each in _ROOMS:
    api.add_router("", each.router)
failures.install(api)
