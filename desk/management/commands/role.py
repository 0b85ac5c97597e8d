"""Give a person roles at the desk."""

from typing import Any

from django.contrib.auth.models import Group, User
from django.core.management.base import CommandError, CommandParser
from django.db import transaction
from django.utils import timezone

from desk.management.commands._command import DeskCommand
from desk.roles import Role
from incidents import services


class Command(DeskCommand):
    help = "Let a person have these roles and no others: viewer, responder, publisher, rule-keeper, owner."
    example = "./run manage role ann publisher rule-keeper"

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="as they log in")
        parser.add_argument(
            "roles", nargs="*", metavar="role", choices=[role.value for role in Role], default=[]
        )

    @transaction.atomic
    def handle(self, *args: Any, **options: Any) -> None:  # Any: Django's signature
        user = User.objects.filter(username=options["name"]).first()
        if user is None:
            raise CommandError(
                f'nobody logs in as "{options["name"]}"; make the account in the admin first'
            )
        before = sorted(user.groups.values_list("name", flat=True))
        user.groups.set([Group.objects.get_or_create(name=name)[0] for name in options["roles"]])
        services.audit(
            actor="terminal", action="roles", subject=user.username, now=timezone.now(), before={"roles": before},
            after={"roles": sorted(options["roles"])},
        )  # fmt: skip
        self.stdout.write(f"{user.username}: {', '.join(sorted(options['roles'])) or 'no role'}")
