"""The Celery tasks: send what is due on one channel. A lost or doubled task costs or claims nothing."""

from celery import shared_task
from celery.signals import worker_shutting_down
from django.db import close_old_connections

from notifications import sending

# One hint drains at most so long, then its worker takes the next one: channels take turns.
DRAIN_S = 10.0


def queue(channel: str) -> str:
    """Return the name of a channel's queue."""
    return f"send.{channel}"


@shared_task(name="notifications.send", ignore_result=True)
def send(channel: str) -> int:
    """Send due batches of `channel`; return how many deliveries were settled."""
    close_old_connections()
    return sending.drain(channel, seconds=DRAIN_S)


@worker_shutting_down.connect
def _stop_sending(**_: object) -> None:
    """Celery waits for running tasks: they end after the message under way."""
    sending.stop()
