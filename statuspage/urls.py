"""Every route of the system on one screen. The published files are served ahead of these: public/serve.py."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path

import desk.urls
import notifications.receipts.urls
import public.views
import subscribers.urls

urlpatterns: list[URLPattern | URLResolver] = [
    path("admin/", admin.site.urls),
    path("probes/", include("probes.urls")),
    *notifications.receipts.urls.urlpatterns,  # /receipts/…
    *subscribers.urls.urlpatterns,  # /subscribe /confirm /manage /unsubscribe
    *public.views.urlpatterns,  # /report
    *desk.urls.urlpatterns,  # /desk /v1 /intake /health /metrics
]
handler403 = "desk.policies.refused"
