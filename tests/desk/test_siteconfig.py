"""site.yaml: what is refused, and how; what is taken, and back."""

from pathlib import Path

import pytest

from desk import siteconfig
from desk.siteconfig import BadSite, Surroundings
from subscribers import addresses

GOOD = """\
page: {name: Follow status, url: "https://status.example.org", time_zone: America/New_York, languages: [en, es]}
operators:
  - {name: On-call phone, channel: sms, address: "+15005550010"}
references: [127.0.0.1]
components:
  - {slug: login, name: Log in, group: Follow app}
  - {slug: follow, name: Readings, group: Follow app, critical: true}
checks:
  - slug: journey
    kind: http
    interval_s: 30
    timeout_s: 10
    locations: [local]
    steps:
      - {name: log in, component: login, method: POST, url: "https://api.example.org/login", expect: {status: 200}}
      - {name: newest, component: follow, url: "https://api.example.org/latest", expect: {body: [{path: "[0].value", between: [20, 600]}]}}
    verdict: {consecutive: 2, recover_after_s: 300}
policies:
  - {component: follow, verdicts: [outage, stale], publish: auto, veto_s: 120, template: down,
     night: {from: "22:00", to: "07:00", time_zone: America/New_York, veto_s: 0}}
alerts:
  - {match: {component: follow, severity: critical}, component: follow, publish: auto, template: down}
templates:
  - {slug: down, name: Follow is down, impact: critical, body: "We look.", what_to_do: "Check.", next_update_in_s: 1200,
     translations: {es: {name: Follow no funciona, body: "Miramos."}}}
"""


def around(site_url: str = "", channels: tuple[str, ...] = ("sms",)) -> Surroundings:
    return Surroundings(
        channels, site_url, lambda channel, text: addresses.clean(addresses.Kind.PHONE, text)
    )


def test_the_contracts_own_example_is_taken() -> None:
    site = siteconfig.parse(GOOD, around=around())
    assert [check.slug for check in site.checks] == ["journey"]
    assert site.policies[0].night
    assert site.policies[0].night.from_ == "22:00"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        pytest.param(
            "interval_s: 30", "interval_s: fast", 11,
            'checks[0].interval_s is "fast"; expected a whole number of seconds, 1 and up', id="a word for a number",
        ),
        pytest.param("interval_s: 30", "interval_s: 0", 11, "checks[0].interval_s is 0; expected", id="no interval"),
        pytest.param("interval_s: 30", "interval_s: true", 11, "checks[0].interval_s is true", id="a truth for a number"),
        pytest.param("interval_s: 30", "intervall_s: 30", 11, "intervall_s", id="a misspelt key of a check"),
        pytest.param("kind: http", "kind: htp", 10, 'checks[0].kind is "htp"; expected one of', id="no such kind"),
        pytest.param(", critical: true", ", critcal: true", 7, "components[1].critcal is not known here; expected one of slug", id="a misspelt key"),
        pytest.param("slug: follow, name: Readings", "slug: login, name: Readings", 7, 'components[1].slug is "login"; expected each slug only once', id="a slug twice"),
        pytest.param("{slug: login, name: Log in", "{slug: Log In, name: Log in", 6, 'components[0].slug is "Log In"; expected a slug', id="no slug"),
        pytest.param("{slug: login, name: Log in", "{slug: login", 6, "components[0].name is missing; expected a text", id="no name"),
        pytest.param("name: newest, component: follow", "name: newest, component: folow", 16, 'checks[0].steps[1].component is "folow"; expected one of components: login, follow', id="an unknown component"),
        pytest.param("name: newest, component: follow,", "name: newest,", 16, "checks[0].steps[1].component is missing; expected a component here or on the check", id="a step with neither"),
        pytest.param("- {component: follow, verdicts", "- {component: fellow, verdicts", 19, 'policies[0].component is "fellow"; expected one of components', id="a policy's unknown component"),
        pytest.param("publish: auto, veto_s: 120, template: down", "publish: auto, veto_s: 120, template: dawn", 19, 'policies[0].template is "dawn"; expected one of templates: down', id="an unknown template"),
        pytest.param("publish: auto, veto_s: 120", "publish: always, veto_s: 120", 19, 'policies[0].publish is "always"; expected one of auto, draft, notify', id="no such way to publish"),
        pytest.param("[outage, stale]", "[outage, broken]", 19, 'policies[0].verdicts[1] is "broken"; expected', id="no such verdict"),
        pytest.param('from: "22:00"', "from: 22:00", 20, 'policies[0].night.from is 1320; expected a time in quotes, as "22:00"', id="a time without quotes"),
        pytest.param("time_zone: America/New_York, languages", "time_zone: America/Gotham, languages", 1, 'page.time_zone is "America/Gotham"; expected a time zone as', id="no such zone"),
        pytest.param("channel: sms", "channel: fax", 3, 'operators[0].channel is "fax"; expected one of ', id="no such channel"),
        pytest.param('"+15005550010"', '"12"', 3, 'operators[0].address is "12"; expected an address of sms', id="no telephone number"),
        pytest.param("consecutive: 2", "consecutive: two", 17, "checks[0].verdict.consecutive is \"two\"; expected a number", id="a verdict's number"),
        pytest.param("consecutive: 2", "consecutiv: 2", 17, "checks[0].verdict.consecutiv is 2; expected one of consecutive", id="a verdict's misspelt key"),
        pytest.param("next_update_in_s: 1200", "next_update_in_s: soon", 24, 'templates[0].next_update_in_s is "soon"; expected a whole number', id="a promise in words"),
        pytest.param("references: [127.0.0.1]", "references: [127.0.0.1]\nreferences: []", 5, "references is given twice; expected it once", id="a key twice"),
        pytest.param("references: [127.0.0.1]", "references: [127.0.0.1", 5, "this is not YAML", id="a bracket left open"),
        pytest.param("references:", "refs:", 4, "refs is not known here; expected one of page, operators", id="an unknown section"),
        pytest.param('"We look."', '"a\\0b"', 24, "NUL", id="a NUL character"),
    ],
)  # fmt: skip
def test_a_wrong_file_names_line_key_and_what_was_expected(
    old: str, new: str, line: int, words: str
) -> None:
    assert old in GOOD
    with pytest.raises(BadSite) as caught:
        siteconfig.parse(GOOD.replace(old, new, 1), around=around())
    first = caught.value.faults[0]
    assert str(first).startswith(f"site.yaml line {line}: ")
    assert words in first.words


@pytest.mark.parametrize(
    ("interval_s", "words"),
    [
        pytest.param(60, "", id="three of them while one may be old"),
        pytest.param(179, "", id="the one before is just young enough"),
        pytest.param(
            180, "expected less than max_age_s, 180: a canary must", id="never young enough"
        ),
    ],
)
def test_canaries_more_seldom_than_one_may_be_old_are_refused(interval_s: int, words: str) -> None:
    check = (
        f"checks:\n  - {{slug: canary, kind: canary, interval_s: {interval_s}, component: follow,\n"
        "     write: [{name: write, url: https://follow.example.org/}],\n"
        "     read: [{name: read, url: https://follow.example.org/}]}\n"
    )
    text = GOOD[: GOOD.index("checks:")] + check

    if not words:
        assert siteconfig.parse(text, around=around()).checks[0].interval_s == interval_s
        return
    with pytest.raises(BadSite) as caught:
        siteconfig.parse(text, around=around())
    assert str(caught.value.faults[0]).startswith(
        f"site.yaml line 9: checks[0].interval_s is {interval_s}; {words}"
    )


def test_a_file_of_another_address_is_refused() -> None:
    with pytest.raises(
        BadSite, match=r'page.url is "https://status.example.org"; expected the same as SITE_URL'
    ):
        siteconfig.parse(GOOD, around=around("https://status.elsewhere.org"))
    assert siteconfig.parse(GOOD, around=around("https://status.example.org/"))


def test_an_empty_file_is_refused_rather_than_taken_for_an_order_to_delete_everything() -> None:
    with pytest.raises(BadSite, match="line 1: the file holds no object"):
        siteconfig.parse("", around=around())


def test_nested_aliases_do_not_eat_the_machine() -> None:
    bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    with pytest.raises(BadSite, match="goes too deep"):
        siteconfig.parse(bomb, around=around())


def test_what_is_dumped_is_read_as_the_same_site(tmp_path: Path) -> None:
    site = siteconfig.parse(GOOD, around=around())
    assert siteconfig.parse(siteconfig.dump(site), around=around()) == site
