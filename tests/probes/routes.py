"""The routes of the eyes alone."""

from django.urls import include, path

urlpatterns = [path("probes/", include("probes.urls"))]
