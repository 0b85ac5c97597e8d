"""Django's admin: where staff declare, publish and look; every save goes through the core's verbs."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group as UserGroup
from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.admin import ModelAdmin, TabularInline
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from desk import access, actions, preview, signing_in, waking
from desk.actions import Action
from desk.forms import Speech, from_template, make_key, newest_incident
from desk.models import AlertRule, ApiKey, BreakGlass, Drill, IntakeAlert
from desk.roles import Right
from incidents import reads, services
from incidents.lifecycle import Audience, ComponentStatus, IllegalMove, Overtaken, Refused
from incidents.models import (
    AuditEntry,
    AuditSeal,
    Call,
    Component,
    Group,
    Incident,
    Page,
    Series,
    StatusChange,
    Template,
    Update,
)
from notifications.models import Broadcast, Delivery
from probes.models import Check, CurrentVerdict, Location, Policy, VerdictChange
from subscribers import services as people
from subscribers.addresses import Kind, mask
from subscribers.models import Subscription

admin.site.site_header = "Status page"
admin.site.site_title = "Status page"
admin.site.index_title = "The desk's records"
admin.site.site_url = "/"
# One log-in for everything: with rate limits, second factor and single sign-on.
admin.site.login = signing_in.login  # type: ignore[method-assign]  # as allauth advises
admin.site.has_permission = access.may_enter  # type: ignore[method-assign]  # roles, not is_staff, open the records
admin.site.unregister(User)
admin.site.unregister(UserGroup)


def who(request: HttpRequest) -> str:
    """Return who is acting, as the audit and the page name them."""
    user = request.user
    return (user.get_full_name() or user.get_username()) if user.is_authenticated else "nobody"


class ReadOnly(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """A ledger: looked at, never changed."""

    list_per_page = 50
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


class Kept(ModelAdmin):  # type: ignore[misc]  # unfold has no types
    """A row that site.yaml or staff keep; every save is audited. Any: a row of the model, its form."""

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        before = {name: str(form.initial.get(name)) for name in form.changed_data} if change else {}
        super().save_model(request, obj, form, change)
        after = {name: str(form.cleaned_data.get(name)) for name in form.changed_data}
        _audit(request, "change" if change else "add", obj, before=before, after=after)

    def delete_model(self, request: HttpRequest, obj: Model) -> None:
        _audit(request, "delete", obj, before={"name": str(obj)})
        super().delete_model(request, obj)

    def delete_queryset(
        self, request: HttpRequest, queryset: QuerySet[Any]
    ) -> None:  # Any: rows of the model
        for row in queryset:
            self.delete_model(request, row)


def _audit(request: HttpRequest, verb: str, row: Model, **words: dict[str, str]) -> None:
    services.audit(
        actor=who(request), action=f"{verb}_{row._meta.model_name}", subject=str(getattr(row, "uid", row.pk)),
        now=timezone.now(), **words,
    )  # fmt: skip


# --- incidents --------------------------------------------------------------------------------------------------------


class UpdateInline(TabularInline):  # type: ignore[misc]  # unfold has no types
    model = Update
    fields = ("number", "status", "body", "speaker", "audience", "published_at", "edited_at")
    readonly_fields = fields
    extra = 0
    can_delete = False
    show_change_link = True
    ordering: ClassVar = ["-id"]

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False


@admin.register(Incident)
class IncidentAdmin(ReadOnly):
    """The list and the record; "add" is the form that declares."""

    list_display = ("name", "status", "said_impact", "stands", "created_at", "next_update_by")
    list_filter = ("status", "automatic")
    search_fields = ("name", "uid")
    inlines: ClassVar = [UpdateInline]
    fields = (
        "name", "status", "said_impact", "stands", "affected_in_words", "next_update_by", "publish_at", "started_at",
        "detected_at", "published_at", "monitoring_at", "resolved_at", "scheduled_for", "scheduled_until", "automatic",
        "person_posted", "social", "uid",
    )  # fmt: skip
    readonly_fields = ("said_impact", "stands", "affected_in_words", "uid")
    change_form_outer_before_template = "desk/admin/incident_actions.html"
    change_list_template = "desk/admin/incident_list.html"

    @admin.display(description="impact")
    def said_impact(self, incident: Incident) -> str:
        return actions.impact_words(incident)

    @admin.display(description="components")
    def affected_in_words(self, incident: Incident) -> str:
        rows = incident.affected.select_related("component")
        return (
            ", ".join(f"{row.component.name}: {row.get_status_display().lower()}" for row in rows)
            or "none"
        )

    @admin.display(description="stands")
    def stands(self, incident: Incident) -> str:
        if incident.published_at:
            return "retracted" if incident.retracted_at else "published"
        return "vetoed" if incident.vetoed_at else "draft"

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return request.user.has_perm("incidents.add_incident")

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:  # Any: Django's
        return self._act(request, actions.DECLARE, None)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:  # Any: Django's own
        incident = Incident.objects.filter(pk=object_id).first() if object_id.isdigit() else None
        may = request.user.has_perm("incidents.change_incident")
        shown = {
            "actions_offered": actions.offered(incident) if incident and may else [],
            "incident": incident,
        }
        answer: HttpResponse = super().change_view(
            request, object_id, form_url, {**(extra_context or {}), **shown}
        )
        return answer

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        own = [path(f"{each.name}/", wrap(self._page_view(each)), name=f"incidents_incident_{each.name}")
               for each in actions.ALL if not each.of_incident]  # fmt: skip
        own += [path(f"<int:pk>/{each.name}/", wrap(self._incident_view(each)), name=f"incidents_incident_{each.name}")
                for each in actions.ALL if each.of_incident]  # fmt: skip
        veto = path(
            "<int:pk>/veto/", wrap(access.button(self._veto)), name="incidents_incident_veto"
        )
        return [*own, veto, *super().get_urls()]

    def _page_view(self, action: Action) -> Any:  # Any: a view
        return lambda request: self._act(request, action, None)

    def _incident_view(self, action: Action) -> Any:  # Any: a view
        def view(request: HttpRequest, pk: int) -> HttpResponse:
            incident = Incident.objects.select_related("page").filter(pk=pk).first()
            if incident is None:
                raise Http404("there is no such incident")
            return self._act(request, action, incident)

        return view

    def _veto(self, request: HttpRequest, pk: int) -> HttpResponse:
        _check_right(request, "change")
        incident = Incident.objects.filter(pk=pk).first()
        if incident is None:
            raise Http404("there is no such incident")
        try:
            services.veto(incident, actor=who(request), now=timezone.now())
        except Refused as error:
            messages.error(request, str(error))
        else:
            messages.success(request, "The draft is vetoed: it does not go out.")
        return redirect(_record(incident))

    def _act(self, request: HttpRequest, action: Action, incident: Incident | None) -> HttpResponse:
        """Show the form, then what would be sent, then do it once."""
        _check_right(request, action.right, action)
        page, now = incident.page if incident else reads.the_page(), timezone.now()
        if request.method != "POST":
            form = action.form(
                initial=_initial(request, action, page), page=page, incident=incident
            )
            return self._show(request, action, incident, form)
        form = action.form(request.POST, page=page, incident=incident)
        if not form.is_valid():
            return self._show(request, action, incident, form)
        if "_preview" in request.POST:
            return self._show(
                request, action, incident, form, rows=_previews(form, page, incident, now)
            )
        is_draft = actions.is_draft(request.POST, action)
        if not is_draft and form.draft(now).audience is not Audience.NOBODY:
            first = access.before_everyone(request, now=now)
            if first is not None:
                return first
        try:
            done = _do(request, action, page, incident, form, now)
        except (Refused, IllegalMove) as error:
            form.add_error(None, str(error))
            if isinstance(error, Overtaken):
                newest = reads.newest_number(incident) if incident else newest_incident(page)
                data = form.data.copy()  # type: ignore[attr-defined]  # a QueryDict
                data["seen"], data["key"] = str(newest), make_key()
                form.data = data
            return self._show(request, action, incident, form)
        return redirect(_record(done))

    def _show(
        self, request: HttpRequest, action: Action, incident: Incident | None, form: Speech,
        rows: list[preview.Words] | None = None,
    ) -> HttpResponse:  # fmt: skip
        page = incident.page if incident else reads.the_page()
        shown = {
            **self.admin_site.each_context(request), "opts": Incident._meta, "title": action.title, "action": action,
            "form": form, "incident": incident, "previews": rows, "page": page,
            "reach": preview.reach(rows) if rows is not None else "", "channels": settings.CHANNELS,
            "templates": Template.objects.filter(page=page) if action.takes_template else [],
            "component_fields": getattr(form, "component_fields", []),
        }  # fmt: skip
        return render(request, "desk/admin/act.html", shown)


def _check_right(request: HttpRequest, right: str, action: Action | None = None) -> None:
    """To publish takes the right to publish; to look and to keep a draft, the right to draft.

    Who has a role is judged by it, for a responder has Django's permission to add; who has none, by Django's permissions.
    """
    looks = request.method != "POST" or "_preview" in request.POST
    is_draft = action is not None and actions.is_draft(request.POST, action)
    needed = Right.DRAFT if right == "add" and (looks or is_draft) else Right.PUBLISH
    held = access.rights_of(request.user)
    if needed in held or (not held and request.user.has_perm(f"incidents.{right}_incident")):
        return
    raise PermissionDenied


def _initial(request: HttpRequest, action: Action, page: Page) -> dict[str, str]:
    """Return what the chosen template puts into the form."""
    slug = request.GET.get("template", "") if action.takes_template else ""
    template = Template.objects.filter(page=page, slug=slug).first() if slug else None
    return dict(from_template(template)) if template else {}


def _previews(
    form: Speech, page: Page, incident: Incident | None, now: datetime
) -> list[preview.Words]:
    # A draft is new to everybody: it has no earlier update to follow.
    before = incident if incident and incident.published_at else None
    return preview.of_draft(page, form.draft(now), now=now, incident=before)


def _do(
    request: HttpRequest,
    action: Action,
    page: Page,
    incident: Incident | None,
    form: Speech,
    now: datetime,
) -> Incident:
    if actions.is_draft(request.POST, action):
        done = actions.keep_draft(page, form, actor=who(request), now=now)
        messages.success(request, "Kept as a draft; nobody is told.")
        return done
    done, is_held = waking.perform(
        action, page, incident, form, user=access.user_of(request), actor=who(request), now=now
    )
    messages.success(request, action.done + (waking.SAID if is_held else ""))
    return done


def _record(incident: Incident) -> str:
    return reverse("admin:incidents_incident_change", args=[incident.pk])


@admin.register(Update)
class UpdateAdmin(ReadOnly):
    """A published text can be corrected: the page marks it, nobody is messaged again."""

    list_display = (
        "incident",
        "number",
        "status",
        "speaker",
        "audience",
        "published_at",
        "edited_at",
    )
    search_fields = ("body", "incident__name")
    fields = (
        "incident",
        "number",
        "status",
        "body",
        "what_to_do",
        "speaker",
        "published_at",
        "edited_at",
    )
    readonly_fields = ("incident", "number", "status", "speaker", "published_at", "edited_at")

    def has_change_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        is_said = obj is None or getattr(obj, "published_at", None) is not None
        return is_said and request.user.has_perm("incidents.change_update")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        services.edit(
            obj, body=obj.body, what_to_do=obj.what_to_do, actor=who(request), now=timezone.now()
        )


# --- what readers see -------------------------------------------------------------------------------------------------


@admin.register(Component)
class ComponentAdmin(Kept):
    list_display = ("name", "slug", "group", "status", "critical", "unknown_since")
    list_filter = ("status", "group")
    search_fields = ("name", "slug")
    fields = (
        "name", "slug", "group", "description", "status", "position", "critical", "showcase", "only_show_if_degraded",
        "start_date",
    )  # fmt: skip

    def formfield_for_choice_field(
        self, db_field: Any, request: HttpRequest, **kwargs: Any
    ) -> Any:  # Any: Django's fields
        """The form knows which status it showed: one that was not touched changes nothing."""
        field = super().formfield_for_choice_field(db_field, request, **kwargs)
        field.show_hidden_initial = db_field.name == "status"
        return field

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """A status goes through set_status(), which writes the history; the rest is saved as it is."""
        now, status = timezone.now(), ComponentStatus(form.cleaned_data["status"])
        words = {
            name: value
            for name, value in form.cleaned_data.items()
            if name not in ("status", "name", "slug")
        }
        if change:
            obj.status = form.initial["status"]
            obj.updated_at = now
            super().save_model(request, obj, form, change)
        else:
            made = services.add_component(
                page=reads.the_page(),
                slug=obj.slug,
                name=obj.name,
                actor=who(request),
                now=now,
                **words,
            )
            obj.pk, obj.page, obj.uid = made.pk, made.page, made.uid
        if not change or "status" in form.changed_data:
            services.set_status(obj, status=status, actor=who(request), now=now)


@admin.register(Group)
class GroupAdmin(Kept):
    list_display = ("name", "position")
    fields = ("name", "description", "position")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.page = reads.the_page()
        super().save_model(request, obj, form, change)


@admin.register(Template)
class TemplateAdmin(Kept):
    list_display = ("name", "slug", "impact", "next_update_in_s")
    search_fields = ("name", "slug", "body")
    fields = ("slug", "name", "impact", "body", "what_to_do", "next_update_in_s")

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if not change:
            obj.page = reads.the_page()
        super().save_model(request, obj, form, change)


@admin.register(Page)
class PageAdmin(Kept):
    list_display = ("name", "url", "time_zone")
    fields = ("name", "headline", "url", "time_zone", "uid")
    readonly_fields = ("url", "time_zone", "uid")

    def has_add_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Model | None = None) -> bool:
        return False

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        obj.updated_at = timezone.now()
        super().save_model(request, obj, form, change)


# --- ledgers ----------------------------------------------------------------------------------------------------------


@admin.register(Subscription)
class SubscriptionAdmin(ReadOnly):
    """Addresses are masked: who follows a diabetes service's outages is nobody's business."""

    list_display = ("uid", "channel", "masked", "role", "state", "language", "created_at")
    list_filter = ("channel", "role", "state")
    search_fields = ("uid", "label")
    fields = (
        "uid", "channel", "masked", "role", "state", "label", "language", "every_component", "components", "wake_me",
        "source", "created_at", "confirmed_at", "gone_at",
    )  # fmt: skip
    readonly_fields = ("uid", "masked")

    @admin.display(description="address")
    def masked(self, subscription: Subscription) -> str:
        address = people.address_of(subscription)
        kind = settings.CHANNELS.get(subscription.channel, ("", ""))[1] or people.kind_of(
            subscription.channel
        )
        return mask(Kind(kind), address) if address else "purged"


@admin.register(Broadcast)
class BroadcastAdmin(ReadOnly):
    list_display = ("id", "incident", "number", "created_at", "fanned_out_at", "halted_at")
    fields = ("incident", "number", "plan", "created_at", "fanned_out_at", "halted_at")


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly):
    """The ledger; without counts of the whole, which at a million rows would take seconds."""

    list_display = ("id", "broadcast_id", "channel", "state", "attempts", "accepted_at", "why")
    list_filter = ("channel", "state")
    list_select_related = False
    ordering: ClassVar = ["-id"]
    fields = (
        "broadcast", "subscription", "channel", "urgent", "state", "attempts", "due_at", "provider", "provider_id",
        "why", "accepted_at", "answered_at",
    )  # fmt: skip


@admin.register(AuditEntry)
class AuditAdmin(ReadOnly):
    list_display = ("at", "actor", "action", "subject")
    list_filter = ("action",)
    search_fields = ("actor", "subject")


@admin.register(AuditSeal)
class AuditSealAdmin(ReadOnly):
    list_display = ("position", "entry", "hash")


@admin.register(Series)
class SeriesAdmin(ReadOnly):
    list_display = ("name", "rule", "next_at", "ended_at")


@admin.register(Drill)
class DrillAdmin(ReadOnly):
    list_display = ("started_at", "by", "passed", "finished_at")


@admin.register(BreakGlass)
class BreakGlassAdmin(ReadOnly):
    list_display = ("user", "sealed_at", "opened_at")


@admin.register(Call)
class CallAdmin(ReadOnly):
    list_display = ("created_at", "reason", "text", "incident")
    list_filter = ("reason",)


@admin.register(StatusChange)
class StatusChangeAdmin(ReadOnly):
    list_display = ("at", "component", "status", "incident", "actor")
    list_filter = ("status",)
    list_select_related = ("component", "incident")


# --- checks, kept in site.yaml ----------------------------------------------------------------------------------------


@admin.register(Check)
class CheckAdmin(ReadOnly):
    list_display = ("slug", "kind", "interval_s", "timeout_s", "enabled")


@admin.register(Location)
class LocationAdmin(ReadOnly):
    list_display = ("name", "last_seen_at", "skew_s", "dropped", "revoked_at")
    exclude = ("token_hash",)


@admin.register(Policy)
class PolicyAdmin(ReadOnly):
    list_display = (
        "position",
        "component",
        "verdicts",
        "publish",
        "veto_s",
        "publish_after_s",
        "template",
    )
    list_select_related = ("component",)


@admin.register(AlertRule)
class AlertRuleAdmin(ReadOnly):
    list_display = ("position", "match", "component", "publish", "template")


@admin.register(CurrentVerdict)
class CurrentVerdictAdmin(ReadOnly):
    list_display = ("of_check", "component", "word", "since", "reasoning")


@admin.register(VerdictChange)
class VerdictChangeAdmin(ReadOnly):
    list_display = ("at", "of_check", "component", "old", "new")


@admin.register(IntakeAlert)
class IntakeAlertAdmin(ReadOnly):
    list_display = ("received_at", "source", "summary", "incident", "ended_at")


# --- people with access -----------------------------------------------------------------------------------------------


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly):
    """Keys are made by `manage.py create_api_key`; here they are ended."""

    list_display = ("name", "scopes", "created_at", "last_used_at", "expires_at", "revoked_at")
    exclude = ("hash",)
    actions: ClassVar = ["revoke"]

    @admin.action(description="Revoke the chosen keys", permissions=["revoke"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[ApiKey]) -> None:
        now = timezone.now()
        for key in queryset.filter(revoked_at__isnull=True):
            key.revoked_at = now
            key.save(update_fields=["revoked_at"])
            services.audit(actor=who(request), action="revoke_key", subject=key.name, now=now)

    def has_revoke_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("desk.change_apikey")


@admin.register(User)
class UserAdmin(DjangoUserAdmin, ModelAdmin):  # type: ignore[misc,type-arg]  # unfold has no types
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(UserGroup)
class UserGroupAdmin(DjangoGroupAdmin, ModelAdmin):  # type: ignore[misc]  # unfold has no types
    pass
