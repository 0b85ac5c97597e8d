"""site.yaml into the database and back, in one transaction, each change as a line."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import yaml
from django.conf import settings
from django.db import models, transaction

from desk import merging
from desk.models import AlertRule, AppliedSite, IntakeMapping
from desk.siteconfig import (
    AlertWords,
    CheckWords,
    ComponentWords,
    IntakeWords,
    OperatorWords,
    PageWords,
    PolicyWords,
    Site,
    Surroundings,
    TemplateWords,
)
from incidents import doorbell, reads, services
from incidents.models import Component, Group, Page, Template
from notifications import channels
from probes.judging import watches_of
from probes.models import Check, Location, Policy, Result
from subscribers import addresses
from subscribers import services as people
from subscribers.models import Role, State, Subscription

ACTOR = "apply"
LOCAL = "local"  # exists by itself: contract.md
SHOWN_CHARS_MAX = 60
DIFFERENCE_MAX = 20  # lines of one value
# A change of these is said by name only: their values are long.
_LONG = ("spec", "rule", "body", "what_to_do", "description", "night", "match", "paths")

Fields = Mapping[str, Any]  # Any: column -> value, as Django takes them


def surroundings() -> Surroundings:
    """Return what this installation is like."""
    return Surroundings(
        channels=sorted(channels.modules()),
        site_url=settings.ENVIRON.raw.get("SITE_URL", ""),
        clean=_clean,
    )


def _clean(channel: str, address: str) -> str:
    return addresses.clean(addresses.Kind(channels.modules()[channel].ADDRESS_KIND), address)


@dataclass(frozen=True, slots=True)
class Applied:
    """What was changed, and what was kept although the file says otherwise; a line each."""

    changes: list[str]
    kept: list[str]


def apply(site: Site, *, now: datetime, dry_run: bool = False, overwrite: bool = False) -> Applied:
    """Make the installation what the site says. Nothing is changed when `dry_run`.

    What was changed in the admin since the last apply stays, unless `overwrite`.
    """
    kept: list[str] = []
    with transaction.atomic():
        page = Page.objects.select_for_update().get(pk=reads.the_page().pk)
        last = AppliedSite.objects.first() or AppliedSite()
        file = site
        if not overwrite:
            site, kept = merging.merge(file, now=read(), applied=last.site or None)
        changes = list(_apply(page, site, now))
        last.site, last.at = merging.dump(file), now
        last.save()
        if changes:
            Page.objects.filter(pk=page.pk).update(updated_at=now)
            services.audit(
                actor=ACTOR, action="apply", subject=page.uid, after={"changes": changes}, now=now
            )
            doorbell.ring_on_commit("site")
        transaction.set_rollback(dry_run)
    return Applied(changes, kept)


def notes(site: Site) -> list[str]:
    """Return what a person should know although it is no change."""
    known = {
        LOCAL,
        *Location.objects.filter(revoked_at__isnull=True).values_list("name", flat=True),
    }
    named = sorted({name for check in site.checks for name in check.locations} - known)
    silent = [
        f"location {name}: no prober may report from there yet; see create_location"
        for name in named
    ]
    deaf = [
        f"operator {row.name}: hears nothing until {row.channel} is configured; see docs/reference.md"
        for row in site.operators
        if row.channel not in settings.CHANNELS
    ]
    return (
        silent
        + deaf
        + [f"component {row.slug}: kept, though not in the file: {why}" for row, why in _kept(site)]
    )


def read() -> Site:
    """Return the site as it is now."""
    page = reads.the_page()
    components = Component.objects.filter(page=page).select_related("group")
    slugs = {row.pk: row.slug for row in components}
    template_slugs = {row.pk: row.slug for row in Template.objects.filter(page=page)}
    return Site(
        page=PageWords(
            name=page.name,
            url=page.url,
            time_zone=page.time_zone,
            languages=list(page.languages or ["en"]),
        ),
        operators=[OperatorWords(**row) for row in _operators()],
        references=list(page.references),
        components=[_component_words(row) for row in components],
        checks=[
            _check_words(row)
            for row in Check.objects.filter(page=page, enabled=True).order_by("id")
        ],
        policies=[_policy_words(row, slugs) for row in Policy.objects.filter(page=page)],
        alerts=[_alert_words(row, slugs, template_slugs) for row in AlertRule.objects.all()],
        templates=[
            _template_words(row) for row in Template.objects.filter(page=page).order_by("id")
        ],
        intake=[
            IntakeWords.model_validate({"name": row.name} | row.paths)
            for row in IntakeMapping.objects.all()
        ],
    )


# --- into the database ------------------------------------------------------------------------------------------------


def _apply(page: Page, site: Site, now: datetime) -> Iterator[str]:
    if site.page:
        yield from _page(page, site.page, now)
    yield from _people(site, now)
    yield from _write(page, "references", {"references": list(site.references)})
    yield from _components(page, site, now)
    # Templates come before what names them, and go after it.
    yield from _templates(page, site)
    yield from _checks(page, site, now)
    yield from _policies(page, site)
    yield from _alerts(page, site)
    yield from _mappings(site)
    yield from _delete_old(
        page, "template", Template.objects.filter(page=page), [row.slug for row in site.templates]
    )
    _see_again(page, now)


def _page(page: Page, words: PageWords, now: datetime) -> Iterator[str]:
    fields: dict[str, Any] = words.model_dump()  # Any: as Django takes them
    if not words.url:
        fields.pop("url")
    yield from _write(page, "page", fields)


def _people(site: Site, now: datetime) -> Iterator[str]:
    wanted = [
        {"name": row.name, "channel": row.channel, "address": _clean(row.channel, row.address)}
        for row in site.operators
    ]
    before = _operators()
    if wanted == before:
        return
    people.set_operators([people.Operator(**row) for row in wanted], now=now)
    for row in wanted:
        if row not in before:
            yield f"operator {row['name']}: {row['channel']}"
    for row in before:
        if row not in wanted:
            yield f"operator {row['name']}: {row['channel']} removed"
    if sorted(map(str, wanted)) == sorted(map(str, before)):
        yield "operators: order changed"


def _components(page: Page, site: Site, now: datetime) -> Iterator[str]:
    groups = {}
    for name in dict.fromkeys(row.group for row in site.components if row.group):
        group, is_new = Group.objects.get_or_create(
            page=page, name=name, defaults={"created_at": now, "updated_at": now}
        )
        groups[name] = group
        if is_new:
            yield f"group {name}: created"
    there = {row.slug: row for row in Component.objects.filter(page=page).select_related("group")}
    for position, words in enumerate(site.components):
        fields = words.model_dump(exclude={"slug", "group"})
        fields |= {"group": groups.get(words.group or ""), "position": position}
        yield from _component(page, there.get(words.slug), words.slug, fields, now)
    yield from _positions(list(groups.values()))
    yield from _old_components(page, site, now)


def _component(
    page: Page, row: Component | None, slug: str, fields: Fields, now: datetime
) -> Iterator[str]:
    if row is None:
        services.add_component(page=page, slug=slug, actor=ACTOR, now=now, **fields)
        yield f"component {slug}: created"
        return
    changed = list(_write(row, f"component {slug}", fields))
    if changed:
        Component.objects.filter(pk=row.pk).update(updated_at=now)
    yield from changed


def _positions(groups: Sequence[Group]) -> Iterator[str]:
    for position, group in enumerate(groups):
        yield from _write(group, f"group {group.name}", {"position": position})


def _old_components(page: Page, site: Site, now: datetime) -> Iterator[str]:
    """Delete the components that left the file, unless something outside of the file refers to them."""
    kept = [row.slug for row, _ in _kept(site)]
    for row in _left(page, site).exclude(slug__in=kept):
        services.audit(
            actor=ACTOR,
            action="delete_component",
            subject=row.uid,
            before={"slug": row.slug},
            now=now,
        )
        row.delete()
        yield f"component {row.slug}: deleted"
    for group in Group.objects.filter(page=page, components__isnull=True):
        group.delete()
        yield f"group {group.name}: deleted"


def _left(page: Page, site: Site) -> models.QuerySet[Component]:
    return Component.objects.filter(page=page).exclude(
        slug__in=[row.slug for row in site.components]
    )


def _kept(site: Site) -> list[tuple[Component, str]]:
    """Return the components that left the file and have to stay, and why."""
    kept = []
    for row in _left(reads.the_page(), site):
        counts = {"incident": row.affected.count(), "subscription": row.subscriptions.count()}
        why = " and ".join(
            f"{count} {word}{'s' * (count > 1)}" for word, count in counts.items() if count
        )
        if why:
            kept.append((row, f"{why} {'refer' if sum(counts.values()) > 1 else 'refers'} to it"))
    return kept


def _templates(page: Page, site: Site) -> Iterator[str]:
    there = {row.slug: row for row in Template.objects.filter(page=page)}
    for words in site.templates:
        translations = {
            language: full
            for language, said in words.translations.items()
            if (full := said.model_dump(exclude_defaults=True))
        }
        fields = words.model_dump() | {"impact": words.impact or "", "translations": translations}
        row = there.get(words.slug)
        yield from _save(row, Template, f"template {words.slug}", fields | {"page": page})


def _checks(page: Page, site: Site, now: datetime) -> Iterator[str]:
    there = {row.slug: row for row in Check.objects.filter(page=page)}
    # The first checks of an installation speak at once: nobody relies on others yet.
    is_in_use = Result.objects.filter(of_check__page=page).exists()
    for words in site.checks:
        fields: dict[str, Any] = {  # Any: as Django takes them
            "page": page,
            "slug": words.slug,
            "kind": words.kind,
            "spec": words.spec,
            "interval_s": words.interval_s,
            "timeout_s": words.timeout_s,
            "locations": list(words.locations),
            "rule": words.verdict,
            "cohort": words.cohort,
            "enabled": True,
        }
        row = there.get(words.slug)
        if row is not None:
            is_other = (row.kind, row.spec) != (words.kind, words.spec)
        else:
            is_other = is_in_use
        changed = list(_save(row, Check, f"check {words.slug}", fields))
        if changed:
            shadow = {"shadow_from": now} if is_other else {}
            Check.objects.filter(page=page, slug=words.slug).update(changed_at=now, **shadow)
        yield from changed
    yield from _delete_old(
        page, "check", Check.objects.filter(page=page), [row.slug for row in site.checks]
    )


def _policies(page: Page, site: Site) -> Iterator[str]:
    components = {row.slug: row for row in Component.objects.filter(page=page)}
    rows = [
        {
            "page": page, "position": position, "component": components[words.component],
            "verdicts": list(words.verdicts), "publish": words.publish, "veto_s": words.veto_s,
            "publish_after_s": words.publish_after_s, "template": words.template or "",
            "night": words.night.model_dump(by_alias=True) if words.night else None,
        }
        for position, words in enumerate(site.policies)
    ]  # fmt: skip
    yield from _in_order(Policy, "policy", Policy.objects.filter(page=page), rows)


def _alerts(page: Page, site: Site) -> Iterator[str]:
    components = {row.slug: row for row in Component.objects.filter(page=page)}
    templates = {row.slug: row for row in Template.objects.filter(page=page)}
    rows = [
        {
            "position": position, "match": words.match, "component": components[words.component],
            "publish": words.publish, "veto_s": words.veto_s, "publish_after_s": words.publish_after_s,
            "template": templates[words.template] if words.template else None,
        }
        for position, words in enumerate(site.alerts)
    ]  # fmt: skip
    yield from _in_order(AlertRule, "alert", AlertRule.objects.all(), rows)


def _mappings(site: Site) -> Iterator[str]:
    there = {row.name: row for row in IntakeMapping.objects.all()}
    for words in site.intake:
        paths = words.model_dump(exclude={"name"}, exclude_defaults=True)
        fields = {"name": words.name, "paths": paths}
        yield from _save(there.get(words.name), IntakeMapping, f"intake {words.name}", fields)
    kept = [words.name for words in site.intake]
    for row in IntakeMapping.objects.exclude(name__in=kept):
        row.delete()
        yield f"intake {row.name}: deleted"


def _in_order(
    model: type[models.Model], word: str, there: models.QuerySet[Any], wanted: Sequence[Fields]
) -> Iterator[str]:  # Any: rows of `model`
    """Bring rows without a name of their own into line, the first with the first."""
    rows = list(there)
    for index, fields in enumerate(wanted):
        yield from _save(
            rows[index] if index < len(rows) else None, model, f"{word} {index + 1}", fields
        )
    for index, row in enumerate(rows[len(wanted) :], start=len(wanted) + 1):
        row.delete()
        yield f"{word} {index}: deleted"


def _save(
    row: models.Model | None, model: type[models.Model], label: str, fields: Fields
) -> Iterator[str]:
    if row is not None:
        yield from _write(row, label, fields)
        return
    model._default_manager.create(**fields)
    yield f"{label}: created"


def _write(row: models.Model, label: str, fields: Fields) -> Iterator[str]:
    """Save what differs, and say it."""
    changed = {name: value for name, value in fields.items() if getattr(row, name) != value}
    if not changed:
        return
    said = [_said(name, getattr(row, name), value) for name, value in changed.items()]
    for name, value in changed.items():
        setattr(row, name, value)
    row.save(update_fields=list(changed))
    yield f"{label}: {', '.join(said)}"


def _said(name: str, old: object, new: object) -> str:
    if name in _LONG or len(f"{old}{new}") > SHOWN_CHARS_MAX:
        return f"{name} changed\n{_difference(old, new)}"
    return f"{name} {_plain(old)} → {_plain(new)}"


def _difference(old: object, new: object) -> str:
    """Return the lines that differ, `-` before and `+` after, the first few of them."""
    before, after = (_lines(value) for value in (old, new))
    lines = [line for line in difflib.ndiff(before, after) if line[:2] in ("- ", "+ ")]
    more = (
        [f"… and {len(lines) - DIFFERENCE_MAX} more lines"] if len(lines) > DIFFERENCE_MAX else []
    )
    return "\n".join(f"    {line}" for line in [*lines[:DIFFERENCE_MAX], *more])


def _lines(value: object) -> list[str]:
    if isinstance(value, str):
        return value.splitlines()
    return yaml.safe_dump(value, sort_keys=True, allow_unicode=True, width=100).splitlines()


def _plain(value: object) -> str:
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return f'"{value}"' if isinstance(value, str) else str(value)


def _delete_old(
    page: Page, word: str, there: models.QuerySet[Any], slugs: Sequence[str]
) -> Iterator[str]:
    for row in there.exclude(slug__in=slugs):  # Any: rows that have a slug
        row.delete()
        yield f"{word} {row.slug}: deleted"


def _see_again(page: Page, now: datetime) -> None:
    """A component that no check watches any more is never unknown: contract.md, "Detection"."""
    watched = {
        watch.component for check in Check.objects.filter(page=page) for watch in watches_of(check)
    }
    for row in Component.objects.filter(page=page, unknown_since__isnull=False).exclude(
        slug__in=watched
    ):
        services.clear_unknown(row, now=now)


# --- out of the database ----------------------------------------------------------------------------------------------


def _operators() -> list[dict[str, str]]:
    rows = Subscription.objects.filter(role=Role.OPERATOR, state=State.ACTIVE).order_by(
        "position", "id"
    )
    return [
        {
            "name": row.label,
            "channel": row.channel,
            "address": people.address_of(row) or "unreadable",
        }
        for row in rows
    ]


def _component_words(row: Component) -> ComponentWords:
    return ComponentWords(
        slug=row.slug, name=row.name, group=row.group.name if row.group else None, description=row.description,
        critical=row.critical, showcase=row.showcase, only_show_if_degraded=row.only_show_if_degraded,
    )  # fmt: skip


def _check_words(row: Check) -> CheckWords:
    return CheckWords(
        slug=row.slug, kind=row.kind, interval_s=int(row.interval_s), timeout_s=_number(row.timeout_s),
        locations=row.locations, cohort=row.cohort, verdict=row.rule, **row.spec,
    )  # fmt: skip


def _policy_words(row: Policy, slugs: Mapping[int, str]) -> PolicyWords:
    return PolicyWords.model_validate(_acting(row) | {
        "component": slugs[row.component_id], "verdicts": row.verdicts, "template": row.template or None,
        "night": row.night,
    })  # fmt: skip


def _alert_words(
    row: AlertRule, slugs: Mapping[int, str], templates: Mapping[int, str]
) -> AlertWords:
    return AlertWords.model_validate(_acting(row) | {
        "match": row.match, "component": slugs[row.component_id],
        "template": templates[row.template_id] if row.template_id else None,
    })  # fmt: skip


def _acting(row: Policy | AlertRule) -> dict[str, Any]:  # Any: as its model checks them
    after_s = row.publish_after_s
    return {
        "publish": str(row.publish),
        "veto_s": _number(row.veto_s),
        "publish_after_s": None if after_s is None else _number(after_s),
    }


def _template_words(row: Template) -> TemplateWords:
    names = ("slug", "name", "body", "what_to_do", "next_update_in_s", "translations")
    return TemplateWords.model_validate(
        {name: getattr(row, name) for name in names} | {"impact": row.impact or None}
    )


def _number(value: float) -> float:
    """Return 30 instead of 30.0, as its writer wrote it."""
    return int(value) if float(value).is_integer() else value
