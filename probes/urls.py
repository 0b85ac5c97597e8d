"""The routes of the eyes, under /probes/."""

from django.urls import path

from probes import views

app_name = "probes"
urlpatterns = [
    path("checks", views.checks, name="checks"),
    path("results", views.results, name="results"),
    path("heartbeat/<str:token>", views.heartbeat, name="heartbeat"),
]
