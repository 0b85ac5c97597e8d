"""The WSGI entrance: published files, then the gate of sign-ups, ahead of Django."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "statuspage.settings")
django_application = get_wsgi_application()

from django.conf import settings  # noqa: E402  # readable only once Django is set up

from public.serve import PublishedFiles  # noqa: E402
from statuspage import schema  # noqa: E402
from subscribers.gate import Gate  # noqa: E402

schema.refuse_mismatch()

application = PublishedFiles(Gate(django_application), settings.PUBLISH_DIR)
