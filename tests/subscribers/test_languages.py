"""The catalogues: compiled from what is there, as whole as promised, and every placeholder kept."""

import re
import shutil
from pathlib import Path

import pytest
from django.test import Client

from benchmarks import catalogues
from incidents import reads
from notifications import messages
from notifications.channels import voice
from notifications.messages import LetterKind, letter_notice
from notifications.receipts import twilio
from tests import world

needs_gettext = pytest.mark.skipif(shutil.which("msgfmt") is None, reason="Debian: gettext")


@needs_gettext
@pytest.mark.parametrize("language", catalogues.LANGUAGES)
def test_a_catalogue_is_whole_enough_and_its_compiled_file_is_of_today(language: str) -> None:
    sentence, share = catalogues.statistics(language)
    assert share >= catalogues.SHARE_MIN[language], sentence
    found = catalogues.po(language).with_suffix(".mo").read_bytes()
    assert found == catalogues.compiled(language), "run: python -m benchmarks.catalogues"


@pytest.mark.parametrize("language", catalogues.LANGUAGES)
def test_every_translation_keeps_its_placeholders(language: str) -> None:
    kept = messages._catalogue(language)._catalog  # type: ignore[attr-defined]
    wrong = [
        said
        for said, words in kept.items()
        if isinstance(said, str) and said and _holes(said) != _holes(words)
    ]
    assert wrong == []


@pytest.mark.parametrize("language", catalogues.LANGUAGES)
def test_what_a_call_says_is_in_every_catalogue_and_read_in_its_own_tongue(language: str) -> None:
    """A voice that reads English words with Spanish sounds wakes nobody who could follow it."""
    sources = [Path(str(one.__file__)).read_text(encoding="utf-8") for one in (voice, twilio)]
    phrases = {
        words
        for source in sources
        for words in re.findall(r"\bsay\(\s*[\w.]*language,\s*\"([^\"]+)\"", source)
    }
    assert len(phrases) >= 4
    catalogue = messages._catalogue(language)
    assert {words for words in phrases if catalogue.gettext(words) == words} == set()
    assert voice.tongue(language).startswith(language)


def _holes(text: str) -> list[str]:
    return sorted(re.findall(r"%\(\w+\)s|\{\w+\}", text))


@pytest.mark.parametrize(
    ("language", "word"),
    [("es", "Abra el enlace"), ("de", "Öffnen Sie den Link"), ("ar", "افتح الرابط"), ("it", "Open the link")],
)  # fmt: skip
@pytest.mark.django_db
def test_a_letter_speaks_the_readers_language_and_english_where_none_is_known(
    language: str, word: str
) -> None:
    letter = letter_notice(
        reads.page_fact(world.page()), kind=LetterKind.CONFIRM, written_at=world.NOW, language=language
    )  # fmt: skip
    assert letter.what_to_do.startswith(word)


@pytest.mark.django_db
def test_a_page_speaks_what_its_link_or_the_browser_says_and_arabic_runs_from_the_right(
    client: Client,
) -> None:
    page = world.page()
    page.languages = ["en", "es", "ar"]
    page.save()
    by_link = client.get("/subscribe?lang=ar").content.decode()
    assert '<html lang="ar" dir="rtl">' in by_link
    assert "اشترك" in by_link
    by_browser = client.get("/subscribe", headers={"accept-language": "es-MX,fr;q=0.8"})
    assert "Suscribirse" in by_browser.content.decode()
    not_offered = client.get("/subscribe", headers={"accept-language": "fr,xx"})
    assert '<html lang="en" dir="ltr">' in not_offered.content.decode()
    wrong = client.post("/subscribe", {"language": "es", "want": "tell", "address": "no@mail"})
    assert "no es un dominio" in wrong.content.decode()
