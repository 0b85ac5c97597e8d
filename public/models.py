"""The noun of the face: somebody says that it does not work for them either."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from incidents.models import Component


class ProblemReport(models.Model):
    """One reader said so in one hour, of one component or of none; counted for operators, never public."""

    component = models.ForeignKey(
        Component, models.CASCADE, null=True, blank=True, related_name="problem_reports"
    )
    network = models.CharField(max_length=64, help_text="Hashed with the hour: not to be followed.")
    hour = models.DateTimeField()
    at = models.DateTimeField()

    class Meta:
        ordering: ClassVar = ["-at"]
        indexes: ClassVar = [models.Index(fields=["-at"], name="problem_report_newest")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["hour", "network", "component"],
                condition=Q(component__isnull=False),
                name="problem_counts_once_an_hour",
            ),
            models.UniqueConstraint(
                fields=["hour", "network"],
                condition=Q(component__isnull=True),
                name="problem_of_nothing_counts_once",
            ),
        ]

    def __str__(self) -> str:
        return f"a problem at {self.at:%H:%M}"
