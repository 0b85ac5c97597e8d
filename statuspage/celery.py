"""The Celery app: queues and their tasks."""

import os

from celery import Celery
from celery.signals import worker_init
from django.conf import settings
from kombu import Exchange, Queue

from statuspage import schema

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "statuspage.settings")

# A broker that hangs must not hang us: stack.md §6, reliability.md §5.1 (socket_timeout defaults to none).
BROKER_TIMEOUT_S = 5.0
VISIBILITY_S = 120  # far above the 10 s that a task drains; nothing depends on redelivery


def _queue(name: str) -> Queue:
    """A queue of its own exchange: on a shared one every hint would reach every channel."""
    return Queue(name, Exchange(name), routing_key=name)


app = Celery("statuspage")
app.config_from_object(
    {
        "broker_url": settings.ENVIRON.broker_url,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_S,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "socket_timeout": BROKER_TIMEOUT_S,
            "socket_connect_timeout": BROKER_TIMEOUT_S,
        },
        "task_ignore_result": True,
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_acks_late": False,  # a hint may be lost; the database knows what is due
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        "task_queues": [_queue(f"send.{channel}") for channel in settings.CHANNELS],
        "worker_enable_remote_control": False,
        "worker_send_task_events": False,
    }
)
app.autodiscover_tasks(["notifications"])


@worker_init.connect
def _refuse_mismatch(**_: object) -> None:
    """A worker starts on a database that fits its code only."""
    from notifications.dbtime import bound_transactions  # Django is not set up yet above

    bound_transactions()
    schema.refuse_mismatch()
