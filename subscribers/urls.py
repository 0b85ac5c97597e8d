"""The routes of people."""

from django.urls import path

from subscribers.views import asking, confirming, files, managing

urlpatterns = [
    path("subscribe", asking.subscribe, name="subscribe"),
    path("contact.vcf", files.contact_card, name="contact-card"),
    path("push/worker.js", files.push_worker, name="push-worker"),
    path("confirm", confirming.confirm_code, name="confirm-code"),
    path("confirm/<str:token>", confirming.confirm, name="confirm"),
    path("manage", asking.ask_to_manage, name="ask-to-manage"),
    path("manage/<str:token>", managing.manage, name="manage"),
    path("unsubscribe/<str:token>", confirming.unsubscribe, name="unsubscribe"),
]
