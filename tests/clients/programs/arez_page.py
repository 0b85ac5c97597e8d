"""aRez: the page's summary as its own classes, which parse every date."""

import asyncio
import json
import os

from arez.statuspage import StatusPage


async def main() -> None:
    async with StatusPage(os.environ["BASE"], loop=asyncio.get_running_loop()) as page:
        status = await page.get_status()
    group = status.group("Follow app")
    follow = status.component("Follow")
    print(json.dumps({
        "name": status.name,
        "status": [status.impact, status.status],
        "components": sorted(row.name for row in status.components),
        "group": [group.name, group.status, sorted(row.name for row in group.components)],
        "incidents": [[row.name, row.status, row.impact, row.last_update.description] for row in status.incidents],
        "of_component": [row.name for row in follow.incidents],
        "maintenances": [[row.name, row.status, (row.scheduled_until - row.scheduled_for).seconds] for row in status.maintenances],
    }))  # fmt: skip


asyncio.run(main())
