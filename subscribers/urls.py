"""The routes of people."""

from django.urls import path

from subscribers import views

urlpatterns = [
    path("subscribe", views.subscribe, name="subscribe"),
    path("push/worker.js", views.push_worker, name="push-worker"),
    path("confirm", views.confirm_code, name="confirm-code"),
    path("confirm/<str:token>", views.confirm, name="confirm"),
    path("manage", views.ask_to_manage, name="ask-to-manage"),
    path("manage/<str:token>", views.manage, name="manage"),
    path("unsubscribe/<str:token>", views.unsubscribe, name="unsubscribe"),
]
