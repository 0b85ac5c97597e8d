"""Frozen values about page, components, incidents and updates, on which the other rooms decide."""

from dataclasses import dataclass, replace
from datetime import date, datetime

from incidents.lifecycle import FINAL, Audience, ComponentStatus, Impact, Status, is_maintenance


@dataclass(frozen=True, slots=True)
class PageFact:
    uid: str
    name: str
    url: str  # without a trailing slash
    time_zone: str
    languages: tuple[str, ...]
    updated_at: datetime
    created_at: datetime
    headline: str = ""


@dataclass(frozen=True, slots=True)
class GroupFact:
    uid: str
    name: str
    description: str
    position: int
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class ComponentFact:
    """`unknown_since` is set while no check can say how it is; `status` then is the last known one."""

    uid: str
    slug: str
    name: str
    description: str
    status: ComponentStatus
    position: int
    critical: bool
    group: str | None  # the group's uid
    created_at: datetime
    updated_at: datetime
    showcase: bool = True
    only_show_if_degraded: bool = False
    start_date: date | None = None
    unknown_since: datetime | None = None
    unknown_why: str = ""

    @property
    def is_unknown(self) -> bool:
        return self.unknown_since is not None


@dataclass(frozen=True, slots=True)
class ComponentChange:
    """What an update said of one component."""

    uid: str
    name: str
    old: ComponentStatus
    new: ComponentStatus


@dataclass(frozen=True, slots=True)
class Translation:
    """An operator's own words in a further language; what is empty is said in the page's first."""

    language: str
    name: str = ""
    body: str = ""
    what_to_do: str = ""


@dataclass(frozen=True, slots=True)
class UpdateFact:
    """`number` counts an incident's updates from 1. `published_at` is None while it is a draft."""

    uid: str
    incident: str  # the incident's uid
    number: int
    status: Status
    body: str
    what_to_do: str
    created_at: datetime
    updated_at: datetime
    display_at: datetime
    published_at: datetime | None
    next_update_by: datetime | None
    audience: Audience
    automatic: bool
    speaker: str
    changes: tuple[ComponentChange, ...]
    edited_at: datetime | None = None
    custom_tweet: str = ""
    first_word: bool = False
    new_impact: bool = False
    retraction: bool = False
    translations: tuple[Translation, ...] = ()

    def told_in(self, language: str) -> "UpdateFact":
        """Return the update in `language`, as far as somebody wrote it; es-MX reads es where it has no own words."""
        found = self._translated(language)
        if found is None:
            return self
        return replace(
            self, body=found.body or self.body, what_to_do=found.what_to_do or self.what_to_do
        )

    def name_in(self, language: str) -> str:
        """Return the incident's name as this update says it in `language`, "" for none."""
        found = self._translated(language)
        return found.name if found else ""

    def _translated(self, language: str) -> Translation | None:
        if not self.translations:
            return None
        words = {one.language: one for one in self.translations}
        return words.get(language) or words.get(language.split("-")[0])


@dataclass(frozen=True, slots=True)
class IncidentFact:
    """An incident, or a maintenance (one with a window). Updates are newest first."""

    uid: str
    name: str
    status: Status
    impact: Impact
    created_at: datetime
    updated_at: datetime
    started_at: datetime
    monitoring_at: datetime | None
    resolved_at: datetime | None
    automatic: bool
    updates: tuple[UpdateFact, ...]
    components: tuple[ComponentFact, ...]
    component_statuses: tuple[
        tuple[str, ComponentStatus], ...
    ] = ()  # (uid, status under this incident)
    published_at: datetime | None = None
    detected_at: datetime | None = None
    scheduled_for: datetime | None = None
    scheduled_until: datetime | None = None
    next_update_by: datetime | None = None
    impact_override: Impact | None = None
    retracted_at: datetime | None = None
    backfilled: bool = False
    social: bool = True
    metadata: tuple[tuple[str, object], ...] = ()
    postmortem_body: str = ""
    postmortem_published_at: datetime | None = None
    auto_in_progress: bool = True
    auto_completed: bool = True

    def told_in(self, language: str) -> "IncidentFact":
        """Return the incident in `language`: each update's own words, the name as it was last translated."""
        if not any(update.translations for update in self.updates):
            return self
        names = (update.name_in(language) for update in self.updates)
        return replace(
            self,
            name=next((name for name in names if name), self.name),
            updates=tuple(update.told_in(language) for update in self.updates),
        )

    @property
    def is_maintenance(self) -> bool:
        return is_maintenance(self.status)

    @property
    def is_open(self) -> bool:
        return self.status not in FINAL

    @property
    def is_critical(self) -> bool:
        return any(component.critical for component in self.components)


@dataclass(frozen=True, slots=True)
class MetricFact:
    """A figure that the page plots: (instant, value), oldest first, on whole half minutes."""

    uid: str
    name: str
    suffix: str
    tooltip: str
    y_axis_min: float | None
    y_axis_max: float | None
    y_axis_hidden: bool
    decimal_places: int
    points: tuple[tuple[datetime, float], ...]
