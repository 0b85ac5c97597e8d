"""What readers said does not work for them, for operators: to look at, not to change."""

from django.contrib import admin
from django.http import HttpRequest
from unfold.admin import ModelAdmin

from public.models import ProblemReport


@admin.register(ProblemReport)
class ProblemReportAdmin(ModelAdmin):  # type: ignore[misc]  # unfold publishes no types
    list_display = ("at", "component")
    list_filter = ("component",)
    date_hierarchy = "at"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: object = None) -> bool:
        return False
