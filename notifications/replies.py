"""What a person means by a text message back to us: stop, start, yes, heard, help, or something we do not understand."""

import re
import unicodedata
from datetime import datetime, timedelta
from enum import StrEnum

# Twilio's default opt-out words, with those of the FCC's rule of April 2025:
# https://help.twilio.com/articles/223134027. Spanish and the other languages we write in: what people answer there.
STOP_WORDS = frozenset(
    {
        *("stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"),
        *("parar", "alto", "baja", "cancelar", "arret", "stopp"),
    }
)
START_WORDS = frozenset({"start", "unstop"})
YES_WORDS = frozenset({"yes", "y", "si", "oui", "ja", "sim"})
HEARD_WORDS = frozenset({"ok", "okay", "k", "1", "heard", "vale", "recibido"})
HELP_WORDS = frozenset({"help", "info", "ayuda", "aide", "hilfe", "aiuto", "ajuda"})
# Politeness does not change what is meant. Everything else around a word does: "do not stop" stops nobody.
_POLITE = frozenset(
    {"please", "pls", "plz", "thanks", "thank", "you", "now", "por", "favor", "gracias"}
)
_OBJECTS = frozenset(
    {"texting", "texts", "text", "messages", "messaging", "calling", "calls", "sms"}
)
_PHRASES = frozenset({("opt", "out"), ("opt", "me", "out"), ("stop", "all"), ("take", "me", "off")})
# A text is at most ten parts long; what is longer is no answer of one word.
WORDS_MAX = 6
# Who writes something we do not understand is told once how to answer, not for every line of a conversation.
HELP_EVERY = timedelta(hours=1)


class Meaning(StrEnum):
    STOP = "stop"
    START = "start"
    YES = "yes"
    HEARD = "heard"
    HELP = "help"
    UNCLEAR = "unclear"


def meaning(text: str) -> Meaning:
    """Return what `text` means; the provider's own filter knows single words only, "please stop" is ours to know."""
    words = _words(text)
    if not words or len(words) > WORDS_MAX:
        return Meaning.UNCLEAR
    plain = tuple(word for word in words if word not in _POLITE)
    if plain in _PHRASES or _is_stop(plain):
        return Meaning.STOP
    if len(plain) != 1:
        return Meaning.UNCLEAR
    return next((known for known, these in _SINGLE if plain[0] in these), Meaning.UNCLEAR)


def may_help(last_at: datetime | None, now: datetime) -> bool:
    """Whether a number that got its last help text at `last_at` may get another one."""
    return last_at is None or now - last_at >= HELP_EVERY


def _is_stop(words: tuple[str, ...]) -> bool:
    """Tell "stop", "stop texting", "stop all messages"; not "it will stop soon"."""
    return (
        bool(words)
        and words[0] in STOP_WORDS
        and set(words[1:]) <= _OBJECTS | {"all", "me", "these", "the"}
    )


def _words(text: str) -> list[str]:
    """Return the words without case, accents and punctuation."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[^\W_]+", plain)


_SINGLE = (
    (Meaning.START, START_WORDS),
    (Meaning.YES, YES_WORDS),
    (Meaning.HEARD, HEARD_WORDS),
    (Meaning.HELP, HELP_WORDS),
)
