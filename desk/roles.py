"""Who may do what at the desk: roles, rights, and what each right lets one do with the records."""

from collections.abc import Iterable
from enum import StrEnum


class Role(StrEnum):
    """What a person is at the desk; the names of groups in the admin. Several add up."""

    VIEWER = "viewer"
    RESPONDER = "responder"
    PUBLISHER = "publisher"
    RULE_KEEPER = "rule-keeper"
    OWNER = "owner"


class Right(StrEnum):
    """What a route asks for; spelled as a permission of Django's."""

    SEE = "desk.see"
    DRAFT = "desk.draft"
    BRAKE = "desk.brake"
    TRY = "desk.try"
    PUBLISH = "desk.publish"
    RULES = "desk.rules"
    OWN = "desk.own"


# Vetoing and halting only ever keep silent: who may draft may do that. To speak is another matter.
RIGHTS: dict[Role, frozenset[Right]] = {
    Role.VIEWER: frozenset({Right.SEE}),
    Role.RESPONDER: frozenset({Right.SEE, Right.DRAFT, Right.BRAKE, Right.TRY}),
    Role.PUBLISHER: frozenset({Right.SEE, Right.DRAFT, Right.BRAKE, Right.TRY, Right.PUBLISH}),
    Role.RULE_KEEPER: frozenset({Right.SEE, Right.TRY, Right.RULES}),
    Role.OWNER: frozenset(Right),
}
WORDS: dict[Right, str] = {
    Right.SEE: "look at the desk",
    Right.DRAFT: "write drafts",
    Right.BRAKE: "veto and halt",
    Right.TRY: "ask for a run of a check",
    Right.PUBLISH: "publish",
    Right.RULES: "change components, templates and checks",
    Right.OWN: "manage people, keys and the audit",
}
_KEPT = ("component", "group", "template", "series")
# Who sees the records sees none of these: accounts, keys, and what others have typed.
_OWNERS = ("user", "group", "apikey", "breakglass", "authenticator", "savedform")


def rights(roles: Iterable[str]) -> frozenset[Right]:
    """Return what these group names allow together; other groups allow nothing here."""
    known = {role.value: role for role in Role}
    return frozenset().union(*(RIGHTS[known[name]] for name in roles if name in known))


def allows(held: frozenset[Right], permission: str) -> bool:
    """Say whether `held` covers a right of ours, or a permission of Django's on a record."""
    if Right.OWN in held:
        return True
    if permission in {right.value for right in Right}:
        return permission in {right.value for right in held}
    app, _, word = permission.partition(".")
    verb, _, model = word.partition("_")
    if app in ("auth", "mfa", "account", "socialaccount") or (app == "desk" and model in _OWNERS):
        return False
    if verb == "view":
        return Right.SEE in held
    if app == "incidents" and model in ("incident", "update"):
        return Right.PUBLISH in held or (
            permission == "incidents.add_incident" and Right.DRAFT in held
        )
    if app == "incidents" and model in (*_KEPT, "page"):
        return Right.RULES in held
    return False


def who_may(right: Right) -> str:
    """Name the roles that have it, for a refusal."""
    return " or ".join(role.value for role in Role if right in RIGHTS[role])


def who_has(permission: str) -> str:
    """Name the roles that have a permission on a record, "" where none has: the system alone writes it."""
    return " or ".join(role.value for role in Role if allows(RIGHTS[role], permission))
