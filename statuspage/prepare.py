"""Brings an installation up to date before its processes start: schema, page, social accounts, the local prober's token.

Prints one JSON object: `probe_token`, and for the demo `user`, `password` and `api_key`.
"""

import json
import os
import secrets
import sys
from datetime import UTC, datetime
from pathlib import Path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "statuspage.settings")

import django

django.setup()

from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction

from desk import applying, keys, siteconfig
from desk.models import ApiKey
from incidents import reads
from incidents.models import Page
from notifications.routing import SOCIAL
from probes import services as probes
from statuspage import schema
from subscribers import services as people

DEMO_USER = "operator"
DEMO_KEY = "demo"


class Newer(Exception):
    """The database was made by newer code; the text says what to do."""


class Occupied(Exception):
    """A demo was to be made in somebody's database; the text says what to do."""


def prepare(now: datetime, *, demo: Path | None = None) -> dict[str, str]:
    """Do what every start needs; run twice it changes nothing but the local prober's token. `demo` is its site.yaml."""
    if demo and _is_somebodys():
        raise Occupied(
            "the database holds a page that no demo made; name a folder or a database of its own, "
            "as `DATA_DIR=./var/demo ./run demo`."
        )
    sentence = schema.mismatch(may_upgrade=True)
    if sentence:
        raise Newer(sentence)
    call_command("migrate", interactive=False, verbosity=0)
    with transaction.atomic():  # a demo's page is never there without what tells it from others
        reads.the_page()
        for channel, (label, _) in settings.CHANNELS.items():
            if channel in SOCIAL:
                people.ensure_social(channel=channel, label=label, now=now)
        found = {"probe_token": probes.issue_token(name="local", now=now)}
        return found | (prepare_demo(demo, now) if demo else {})


def _is_somebodys() -> bool:
    """Return True when there is a page, and not beside it the operator and the key of a demo."""
    if Page._meta.db_table not in connection.introspection.table_names():
        return False
    made_by_demo = (
        get_user_model().objects.filter(username=DEMO_USER).exists()
        and ApiKey.objects.filter(name=DEMO_KEY).exists()
    )
    return Page.objects.exists() and not made_by_demo


def prepare_demo(site: Path, now: datetime) -> dict[str, str]:
    """Apply the demo's site.yaml; make an operator and an API key."""
    words = siteconfig.parse(
        site.read_text(encoding="utf-8"), around=applying.surroundings(), file=site.name
    )
    applying.apply(words, now=now)
    password = secrets.token_urlsafe(9)
    users = get_user_model().objects
    users.filter(username=DEMO_USER).delete()
    users.create_superuser(DEMO_USER, password=password)
    return {
        "user": DEMO_USER,
        "password": password,
        "api_key": keys.create(name=DEMO_KEY, scopes=(), now=now),
    }


def main() -> int:
    now = datetime.now(UTC)
    try:
        demo = Path(sys.argv[2]) if len(sys.argv) == 3 and sys.argv[1] == "--demo" else None
        found = prepare(now, demo=demo)
    except DatabaseError as error:
        print(
            f"statuspage: DATABASE_URL cannot be used: {str(error).strip().splitlines()[0]}",
            file=sys.stderr,
        )
        return 1
    except (siteconfig.BadSite, Newer, Occupied) as error:
        print(f"statuspage: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
