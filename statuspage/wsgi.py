"""The WSGI entrance: published files, then the gate of sign-ups, ahead of Django."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "statuspage.settings")
django_application = get_wsgi_application()

from django.conf import settings  # noqa: E402  # readable only once Django is set up
from django.urls import get_resolver  # noqa: E402

from public.serve import PublishedFiles  # noqa: E402
from statuspage import schema  # noqa: E402
from subscribers.gate import Gate  # noqa: E402

schema.refuse_mismatch()
# Django reads the addresses, and with them every view, at the first request: some hundred would wait for it.
get_resolver().url_patterns  # noqa: B018

application = PublishedFiles(Gate(django_application), settings.PUBLISH_DIR)
