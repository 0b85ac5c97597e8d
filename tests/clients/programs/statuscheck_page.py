"""statuscheck: a service of ours beside those it brings; only the address is another."""

import json
import os

from statuscheck.services.bases._statuspageio import BaseStatusPageAPI


class ServiceAPI(BaseStatusPageAPI):
    name = "Follow"

    def _get_base_url(self) -> str:
        return f"{os.environ['BASE']}/api/v2/"


summary = ServiceAPI().get_summary()
print(json.dumps({
    "status": [summary.status.code, summary.status.name, summary.status.description, summary.status.is_ok],
    "components": sorted([row.name, row.status] for row in summary.components),
    "incidents": sorted([row.name, row.status] for row in summary.incidents),
}))  # fmt: skip
