"""django-post_office on the same server and database: the peer of `bench fanout`. A process of its own with its own settings.

Reads a count per line from standard input, queues so many mails, sends them, and answers with the seconds of the sending.
"""

import json
import os
import sys
import time

BATCH_ROWS = 5_000  # its default of 100 starts its processes anew for every hundred mails


def main() -> None:
    import django
    from django.conf import settings

    port, processes = int(sys.argv[1]), int(sys.argv[2])
    url = os.environ["PEER_DATABASE_URL"]
    import environ

    settings.configure(
        DATABASES={"default": environ.Env.db_url_config(url)},
        INSTALLED_APPS=["django.contrib.contenttypes", "post_office"],
        EMAIL_BACKEND="post_office.EmailBackend",
        EMAIL_HOST="127.0.0.1",
        EMAIL_PORT=port,
        DEFAULT_AUTO_FIELD="django.db.models.AutoField",
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
        POST_OFFICE={
            "BACKENDS": {"default": "django.core.mail.backends.smtp.EmailBackend"},
            "BATCH_SIZE": BATCH_ROWS,
            "DEFAULT_PRIORITY": "medium",
            "LOG_LEVEL": 0,
        },
        USE_TZ=True,
    )
    django.setup()
    from django.core.management import call_command
    from post_office import mail, models

    call_command("migrate", interactive=False, verbosity=0)
    words = json.loads(os.environ["PEER_WORDS"])
    print("ready", flush=True)
    for line in sys.stdin:
        count = int(line)
        models.Email.objects.bulk_create(
            [
                models.Email(
                    from_email="status@follow.example",
                    to=[f"peer{n}@family.example"],
                    subject=words["subject"],
                    message=words["text"],
                    html_message=words["html"],
                    status=models.STATUS.queued,
                    priority=models.PRIORITY.medium,
                    headers={"List-Unsubscribe": f"<https://status.example.org/unsubscribe/{n}>"},
                )
                for n in range(count)
            ]
        )
        started = time.perf_counter()
        mail.send_queued_mail_until_done(processes=processes, log_level=0)
        print(json.dumps({"seconds": time.perf_counter() - started}), flush=True)


if __name__ == "__main__":
    main()
