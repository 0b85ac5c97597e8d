"""A verdict's reasons in words: who saw what, how often."""

from collections.abc import Callable, Sequence
from itertools import groupby

from probes.ratio import Burn
from probes.rule import Rule
from probes.sight import Sight
from probes.words import Word, gravity


def of_trouble(saying: Sequence[Sight], word: Word, rule: Rule) -> str:
    """Say by which rule it is bad; a share names the counts of each location."""
    if all(gravity(sight.in_a_row) >= gravity(word) for sight in saying):
        return of_rows(saying, word, rule.consecutive)
    if word is Word.DEGRADED:
        return _counted(saying, "probes", lambda each: each.slow, rule.slow_of_last, "were slow")
    return _counted(saying, "first attempts", lambda each: each.failures, rule.of_last, "failed")


def of_rows(sights: Sequence[Sight], word: Word, runs: int) -> str:
    """Say who saw the same so often in a row; locations with one reason share a sentence."""
    failing = [sight for sight in sights if sight.newest.word is not Word.UP]
    by_reason = sorted(failing, key=lambda sight: sight.newest.reason)
    sentences: list[str] = []
    for reason, group in groupby(by_reason, key=lambda sight: sight.newest.reason):
        names = listed([sight.location for sight in group])
        did = "were slow" if word is Word.DEGRADED else "failed"
        sentences.append(f"{runs} of {runs} {plural(runs, 'probe')} from {names} {did}: {reason}.")
    return " ".join(sentences)


def _counted(
    saying: Sequence[Sight], what: str, count: Callable[[Sight], int], of: int, did: str
) -> str:
    counts = listed([f"{count(each)} from {each.location}" for each in saying])
    why = next((each.blamed.reason for each in saying if each.blamed.reason), "")
    return f"Of the last {of} {what} of each location, {counts} {did}{f': {why}' if why else ''}."


def of_flapping(flapping: Sequence[Sight], word: Word) -> str:
    """Say that trouble comes and goes, so that it stays what it was."""
    names = listed([sight.location for sight in flapping])
    percent = min(sight.flap_percent for sight in flapping)
    return (
        f"Intermittent: good and bad probes take turns at {names}, {percent:.0f} % of the last "
        f"results are changes; still {word} until it is steady."
    )


def of_burn(burn: Burn, rule: Rule) -> str:
    """Say how many first attempts failed in both windows."""
    return (
        f"{burn.failures} of {burn.attempts} first attempts of the last "
        f"{rule.burn_over_s / 60:.0f} min failed, {burn.newest_failures} of "
        f"{burn.newest_attempts} in the last {rule.burn_newest_s / 60:.0f} min."
    )


def of_latency(names: Sequence[str], limit_s: float, *, for_s: float) -> str:
    """Say that good runs take long."""
    return (
        f"95 % of the good probes of 10 min no longer stay under {limit_s:.1f} s at "
        f"{listed(names)}, for {for_s / 60:.0f} min now."
    )


def listed(names: Sequence[str]) -> str:
    """Return names as a list in words."""
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def plural(count: int, noun: str) -> str:
    """Return a noun as its count wants it."""
    return noun if count == 1 else f"{noun}s"


def sentence(words: str) -> str:
    """Return words with a capital and a stop."""
    return f"{words[:1].upper()}{words[1:]}."
