"""The checker itself: each invariant goes red on a history that breaks it, and stays green on its twin."""

from dataclasses import replace

import pytest

from tests.faults.checker import Handover, History, Intent, Person, Publish, Rules, judge

AT = 1_000.0
ANN = Person("email", "ann@family.example", confirmed_at=0.0)
BOB = Person("email", "bob@family.example", confirmed_at=0.0)
FIRST = Publish("inc", 1, AT, shown_at=AT + 1)
SECOND = Publish("inc", 2, AT + 10, shown_at=AT + 11)


def intent(person: Person, number: int = 1, **words: object) -> Intent:
    delivery = number * 10 + (person is BOB)
    meant = Intent(delivery, person.channel, person.address, "inc", number, "accepted")
    return replace(meant, **words)  # type: ignore[arg-type]  # the fields of Intent


def told(person: Person, after_s: float, number: int = 1) -> Handover:
    delivery = number * 10 + (person is BOB)
    return Handover(person.channel, person.address, AT + after_s, "inc", number, delivery)


CLEAN = History([FIRST], [ANN, BOB], [intent(ANN), intent(BOB)], [told(ANN, 2), told(BOB, 2)])


def test_a_clean_history_is_green() -> None:
    verdict = judge(CLEAN)
    assert verdict.broken == []
    assert (verdict.lost, verdict.duplicate, verdict.late, verdict.out_of_order) == (0, 0, 0, 0)


@pytest.mark.parametrize(
    ("history", "rules", "said"),
    [
        pytest.param(replace(CLEAN, ledger=[told(ANN, 2)], intents=[intent(ANN)]), Rules(), "I1 lost", id="lost"),
        pytest.param(replace(CLEAN, ledger=[told(ANN, 2), told(BOB, 99)]), Rules(late_s=60), "I1 late", id="late"),
        pytest.param(
            replace(CLEAN, ledger=[told(ANN, 2)], intents=[intent(ANN), intent(BOB, state="unknown")]),
            Rules(), "I1 lost", id="left unknown and untold",
        ),
        pytest.param(
            replace(CLEAN, ledger=[*CLEAN.ledger, told(ANN, 3)]), Rules(), "I2 duplicate", id="told twice"
        ),
        pytest.param(
            replace(
                CLEAN, intents=[intent(ANN, ambiguous=1), intent(BOB)],
                ledger=[*CLEAN.ledger, told(ANN, 3), told(ANN, 4)],
            ),
            Rules(), "I2 duplicate", id="two copies for one ambiguity",
        ),
        pytest.param(
            replace(CLEAN, intents=[intent(ANN, ambiguous=1), intent(BOB)], ledger=[*CLEAN.ledger, told(ANN, 3)]),
            Rules(extra_max=0), "I2", id="more copies than the fault explains",
        ),
        pytest.param(
            History(
                [FIRST, SECOND], [ANN], [intent(ANN), intent(ANN, 2)], [told(ANN, 12, 2), told(ANN, 13, 1)]
            ),
            Rules(), "I3 out of order", id="an older update later",
        ),
        pytest.param(
            replace(CLEAN, people=[replace(ANN, left_at=AT + 1), BOB], ledger=[told(ANN, 7), told(BOB, 2)]),
            Rules(), "I4 told after leaving", id="told six seconds after leaving",
        ),
        pytest.param(
            replace(CLEAN, ledger=[told(ANN, 0.5), told(BOB, 2)]), Rules(), "I5", id="before the page showed it"
        ),
        pytest.param(
            replace(CLEAN, publishes=[replace(FIRST, to_nobody=True)]), Rules(), "I6", id="meant for nobody"
        ),
        pytest.param(
            replace(CLEAN, ledger=[*CLEAN.ledger, replace(told(ANN, 2), number=7)]), Rules(), "I6", id="never published"
        ),
        pytest.param(
            replace(CLEAN, ledger=[told(ANN, 2), replace(told(BOB, 2), delivery=10)]), Rules(), "I7",
            id="somebody else's message",
        ),
        pytest.param(
            replace(CLEAN, intents=[intent(ANN), intent(BOB, state="calling")]), Rules(), "I11", id="still open"
        ),
        pytest.param(
            replace(CLEAN, ledger=[told(ANN, 2)]), Rules(), "I11 accepted by nobody", id="sent, but to no provider"
        ),
        pytest.param(
            CLEAN, Rules(ambiguous_on=frozenset({"email"})), "nothing ambiguous", id="a fault that struck nobody"
        ),
    ],
)  # fmt: skip
def test_a_broken_invariant_is_named(history: History, rules: Rules, said: str) -> None:
    assert any(sentence.startswith(said) for sentence in judge(history, rules).broken)


@pytest.mark.parametrize(
    ("history", "rules"),
    [
        pytest.param(
            History(
                [FIRST, SECOND], [ANN], [intent(ANN, state="superseded"), intent(ANN, 2)], [told(ANN, 12, 2)]
            ),
            Rules(), id="overtaken by a newer update",
        ),
        pytest.param(
            replace(CLEAN, intents=[intent(ANN, ambiguous=1), intent(BOB)], ledger=[*CLEAN.ledger, told(ANN, 3)]),
            Rules(extra_max=1), id="one copy more for one ambiguity",
        ),
        pytest.param(
            replace(CLEAN, people=[replace(ANN, left_at=AT + 1), BOB], ledger=[told(BOB, 2)],
                    intents=[intent(ANN, state="suppressed"), intent(BOB)]),
            Rules(), id="left before the message",
        ),
        pytest.param(
            replace(CLEAN, people=[ANN, replace(BOB, confirmed_at=AT + 1)], ledger=[told(ANN, 2)], intents=[intent(ANN)]),
            Rules(), id="joined after it was published",
        ),
        pytest.param(
            History(
                [FIRST, SECOND], [ANN], [intent(ANN), intent(ANN, 2)], [told(ANN, 12, 2), told(ANN, 13, 1)]
            ),
            Rules(in_flight=1), id="begun before, arrived after",
        ),
    ],
)  # fmt: skip
def test_what_the_invariants_allow_is_green(history: History, rules: Rules) -> None:
    assert judge(history, rules).broken == []


def test_an_ambiguity_is_counted_as_found_or_as_sent_again() -> None:
    found = intent(ANN, ambiguous=1, accepted_at=AT + 5)
    again = intent(BOB, ambiguous=1, accepted_at=AT + 5)
    history = replace(
        CLEAN, intents=[found, again], ledger=[told(ANN, 2), told(BOB, 2), told(BOB, 4.9)]
    )
    seen = judge(history).ambiguity["email"]
    assert (seen.injected, seen.accepted, seen.resent) == (2, 1, 1)
