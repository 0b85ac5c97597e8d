"""People at the desk, logged in as the log-in page would have done it."""

import time

from django.contrib.auth.models import Group, User
from django.test import Client

from desk.roles import Role

PASSWORD = "a long password"


def person(name: str, *roles: Role) -> User:
    """Make an account with these roles."""
    user = User.objects.create_user(name, password=PASSWORD)
    user.groups.set([Group.objects.get_or_create(name=role.value)[0] for role in roles])
    return user


def sign_in(client: Client, user: User, *, ago_s: float = 0.0) -> Client:
    """Let somebody be logged in who proved it so many seconds ago."""
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    session = client.session
    session["account_authentication_methods"] = [{"method": "password", "at": time.time() - ago_s}]
    session.save()
    return client


def ann(client: Client) -> Client:
    """Ann may do everything."""
    return sign_in(client, User.objects.create_superuser("ann", password=PASSWORD))


def user(name: str) -> User:
    return User.objects.get(username=name)
