"""An operator's words in further languages: who reads one gets them, everybody else the page's first; by channel, page and banner."""

import json
from pathlib import Path

import pytest

from incidents import amending, reads, services
from incidents.lifecycle import ComponentStatus, Refused, Status
from incidents.models import Incident, Update
from notifications import entries, outbox
from notifications.channels import sms
from notifications.models import Broadcast
from public import snapshot
from public.publish import Publisher
from tests import world
from tests.notifications.test_outbox import shown

pytestmark = pytest.mark.django_db
SPANISH = {
    "name": "Puede que no lleguen lecturas",
    "body": "Lo estamos mirando.",
    "what_to_do": "Mire el dispositivo.",
}


def declare(**words: object) -> Incident:
    said: dict[str, object] = {
        "page": world.page(),
        "name": "Followers may not receive readings",
        "body": "We are looking.",
        "what_to_do": "Check the wearer's own device.",
        "actor": "ann",
        "now": world.NOW,
        "components": {world.component(): ComponentStatus.MAJOR_OUTAGE},
    }
    return services.declare(**(said | words))  # type: ignore[arg-type]  # a table's values


def heard(incident: Incident, language: str) -> tuple[str, str, str]:
    shown(incident)
    outbox.open_entries(world.NOW)
    newest = Broadcast.objects.filter(incident=incident).order_by("-number").first()
    assert newest is not None
    told = entries.notice(newest, language)
    return told.title, told.body, told.what_to_do


@pytest.mark.parametrize("language", ["es", "es-MX"])
def test_a_reader_gets_their_language_and_a_region_its_tongue(language: str) -> None:
    incident = declare(translations={"es": SPANISH})
    assert heard(incident, language) == tuple(SPANISH.values())
    assert heard(incident, "fr")[1] == "We are looking."
    broadcast = Broadcast.objects.get()
    assert sms.sms_text(entries.notice(broadcast, language)).startswith(SPANISH["name"])
    assert SPANISH["body"] not in entries.notice(broadcast, language).machine


def test_what_is_not_translated_is_said_in_the_first_language_and_advice_stands_on() -> None:
    incident = declare(translations={"es": SPANISH | {"body": " "}})
    assert heard(incident, "es")[1] == "We are looking."
    services.publish_update(
        incident, status=Status.IDENTIFIED, body="Found.", actor="ann", now=world.NOW,
        translations={"es": {"body": "Encontrado."}},
    )  # fmt: skip
    assert heard(incident, "es") == (SPANISH["name"], "Encontrado.", SPANISH["what_to_do"])
    assert heard(incident, "en")[1:] == ("Found.", "Check the wearer's own device.")


def test_a_corrected_text_takes_its_translations_back() -> None:
    incident = declare(translations={"es": SPANISH})
    services.edit(incident.updates.get(), body="We look.", actor="ann", now=world.NOW)
    assert Update.objects.get().translations == {}


def test_corrected_advice_takes_the_old_advice_back_in_every_language() -> None:
    incident = declare(translations={"es": SPANISH})
    update = incident.updates.get()
    services.edit(
        update, body=update.body, what_to_do="Do not open the app.", actor="ann", now=world.NOW
    )
    told = {"name": SPANISH["name"], "body": SPANISH["body"]}
    assert Update.objects.get().translations == {"es": told}


def test_a_new_name_takes_the_old_one_back_in_every_language() -> None:
    incident = declare(translations={"es": SPANISH})
    amending.amend(incident, changes={"name": "No readings at all"}, actor="ann", now=world.NOW)
    assert heard(incident, "es")[:2] == ("No readings at all", SPANISH["body"])


def test_words_for_a_region_are_read_on_its_languages_page(tmp_path: Path) -> None:
    page = world.page()
    page.languages = ["en", "es-MX"]
    page.save()
    incident = declare(translations={"es-MX": SPANISH})
    Publisher(tmp_path).publish(snapshot.take(world.NOW))
    assert SPANISH["body"] in (tmp_path / "es" / "incidents" / incident.uid).read_text()
    banner = json.loads((tmp_path / "banner.es.json").read_bytes())
    assert banner["headline"] == SPANISH["name"]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"../es": SPANISH}, "is not a language"),
        ({"es": {"text": "x"}}, "has name, body and what_to_do"),
        ({"es": {"body": "x\x00"}}, "NUL"),
        ({"es": {"name": "x" * 1000}}, "characters; allowed are"),
        ({f"a{letter}": {"body": "x"} for letter in "abcdefghijklmnopqrstu"}, "At most 20"),
    ],
)
def test_bad_translations_are_refused_in_words(
    words: dict[str, dict[str, str]], sentence: str
) -> None:
    with pytest.raises(Refused, match=sentence):
        declare(translations=words)
    assert not Incident.objects.exists()


def test_many_incidents_are_read_with_their_translations_too() -> None:
    declare(translations={"es": SPANISH})
    (fact,) = reads.incident_facts(Incident.objects.all())
    assert fact.told_in("es").name == SPANISH["name"]
    assert fact.told_in("en") == fact


def test_the_page_and_the_banner_of_a_language_say_it(tmp_path: Path) -> None:
    page = world.page()
    page.languages = ["en", "es"]
    page.save()
    incident = declare(translations={"es": SPANISH})
    Publisher(tmp_path).publish(snapshot.take(world.NOW))
    pages = {language: tmp_path / language / "incidents" / incident.uid for language in ("", "es")}
    assert SPANISH["body"] in pages["es"].read_text(encoding="utf-8")
    assert SPANISH["body"] not in pages[""].read_text(encoding="utf-8")
    banners = [
        json.loads((tmp_path / name).read_text(encoding="utf-8"))["what_to_do"]
        for name in ("banner.json", "banner.es.json", "banner.en.json")
    ]
    first = "Check the wearer's own device."
    assert banners == [first, SPANISH["what_to_do"], first]
