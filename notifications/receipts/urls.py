"""The routes of /receipts."""

from django.urls import URLPattern

from notifications.receipts import heard, mail, twilio

urlpatterns: list[URLPattern] = [*heard.urlpatterns, *mail.urlpatterns, *twilio.urlpatterns]
