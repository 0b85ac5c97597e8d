"""The documents say what the code does: names, variables, commands, links."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from desk import intake_views, moving_in, siteconfig
from desk.api import entrance, lookup, reference
from desk.api.v1 import api
from desk.models import REQUESTS_PER_MINUTE
from incidents import metrics
from incidents.models import BODY_CHARS_MAX

ROOT = Path(__file__).resolve().parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
LATER = REFERENCE.partition("## Not there yet")[2]
THERE = REFERENCE.partition("## Not there yet")[0]
PICTURE_BYTES_MAX = 150_000

_VARIABLE = re.compile(r'"([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)"')
# Read with these; what else stands in capitals and quotes is no variable of the environment.
_READERS = re.compile(
    r"raw\.get\(|_words\(|_switch\(|_one_of\(|environ\.get\(|api_base\(|rate\(|_line\(|required\(|_KEYS = |for name in \("
)
_NOT_OURS = {"DJANGO_SETTINGS_MODULE"}


def _variables() -> set[str]:
    """Return the variables that settings, channels, prober and supervisor read, with the lines around each reader."""
    files = [
        ROOT / "statuspage" / "settings.py",
        ROOT / "statuspage" / "supervisor.py",
        *sorted((ROOT / "probes" / "agent").glob("*.py")),
        *sorted((ROOT / "notifications" / "channels").glob("*.py")),
    ]
    found: set[str] = set()
    for file in files:
        text = file.read_text(encoding="utf-8")
        for reader in _READERS.finditer(text):
            found |= set(_VARIABLE.findall(text[reader.start() : reader.start() + 200]))
    return found - _NOT_OURS


def _management_commands() -> set[str]:
    files = ROOT.glob("*/management/commands/*.py")
    return {file.stem for file in files if not file.stem.startswith("_")}


def _dependencies(*, extra: str = "") -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed: list[str] = (
        project["optional-dependencies"][extra] if extra else project["dependencies"]
    )
    return [re.split(r"[~<>=! ]", name)[0] for name in listed]


def _links(document: Path) -> Iterator[str]:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if "://" not in target:
            yield target


def _anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


def test_the_variables_that_everybody_knows_are_found_in_the_code() -> None:
    assert {
        "DATABASE_URL",
        "EMAIL_URL",
        "TWILIO_FROM",
        "X_CONSUMER_KEY",
        "PROBE_TOKEN",
    } <= _variables()


@pytest.mark.parametrize("variable", sorted(_variables()))
def test_every_variable_that_is_read_is_in_the_reference(variable: str) -> None:
    assert f"`{variable}`" in THERE, (
        f"docs/reference.md, Environment: {variable} is read and not explained"
    )


def test_every_command_of_run_is_in_the_reference() -> None:
    script = (ROOT / "run").read_text(encoding="utf-8")
    cases = re.findall(r"^    ([a-z |]+)\)(?: |$)", script, flags=re.MULTILINE)
    commands = {word for case in cases for word in case.split(" | ")}
    assert {"demo", "serve", "test"} <= commands
    assert sorted(word for word in commands if f"`./run {word}" not in THERE) == []


@pytest.mark.parametrize("command", sorted(_management_commands()))
def test_every_management_command_is_in_the_reference(command: str) -> None:
    assert re.search(rf"^\| `{command}\b", THERE, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("folder", "names"),
    [
        pytest.param(
            "*/management/commands", ("drill", "import_statuspage", "move_database"), id="commands"
        ),
        pytest.param(
            "notifications/channels", ("webpush", "webhook", "slack", "teams"), id="channels"
        ),
        pytest.param("probes/kinds", ("share", "tcp", "dns", "tls", "canary", "alert"), id="kinds"),
    ],
)
def test_what_is_told_to_be_missing_is_missing(folder: str, names: tuple[str, ...]) -> None:
    there = {file.stem for file in ROOT.glob(f"{folder}/*.py")}
    stale = [name for name in names if name in there and f"`{name}`" in LATER]
    assert stale == [], "docs/reference.md, Not there yet: these are there; move them up"


@pytest.mark.parametrize("name", _dependencies())
def test_every_dependency_has_its_reason(name: str) -> None:
    assert f"| {name} | " in (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", _dependencies(extra="dev"))
def test_every_tool_has_its_reason(name: str) -> None:
    tools = (
        (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8").partition("## For tests")[2]
    )
    assert re.search(
        rf"^\|[^|]*(?<![\w-]){re.escape(name)}(?![\w\[-])[^|]*\|", tools, flags=re.MULTILINE
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_repository_leads_somewhere(document: Path) -> None:
    for target in _links(document):
        path, _, anchor = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), f"{document.name}: {target} is not there"
        assert not anchor or anchor in _anchors(file), f"{document.name}: {target} names no heading"


def test_every_command_shown_exists() -> None:
    known = _management_commands() | {"createsuperuser", "migrate"}
    shown = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"\./run manage ([a-z_]+)", document.read_text(encoding="utf-8"))
    }
    assert "declare" in shown
    assert shown <= known


def test_pictures_are_small_enough_for_a_phone() -> None:
    pictures = list((ROOT / "docs" / "img").glob("*.png"))
    assert pictures
    assert [file.name for file in pictures if file.stat().st_size >= PICTURE_BYTES_MAX] == []


def test_the_files_that_the_architecture_names_are_there() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(?:[a-z]+/)*([a-z]+\.py)`", text))
    there = {
        file.name
        for room in ROOT.iterdir()
        if room.is_dir() and room.name != ".venv"
        for file in room.rglob("*.py")
    }
    assert "outbox.py" in named
    assert sorted(named - there) == []


# The sentences of the runbook, as they stand in the code.
_SAID = [
    ("statuspage/clock.py", "the database does not answer as it should"),
    ("statuspage/clock.py", "the tick failed"),
    ("public/clock.py", "The page cannot be published to"),
    ("public/mirrors.py", "cannot be written"),
    ("subscribers/doorstep.py", "an ask could not be answered"),
    ("notifications/hints.py", "the broker takes no hints"),
    ("notifications/emergency.py", "no worker takes messages on"),
    ("notifications/emergency.py", "sending from the clock stopped"),
    ("notifications/sending.py", "came after their lease"),
    ("desk/signing_in.py", "the single sign-on does not answer"),
    ("desk/clock.py", "the heartbeat did not arrive"),
    ("desk/clock.py", "the last heartbeat is still under way"),
    ("probes/judging.py", "cannot be judged"),
    ("probes/alone.py", "failed; the others go on"),
    ("public/watchdog.py", "the publisher is silent; the page says unknown."),
    ("statuspage/supervisor.py", "starting it again"),
    ("statuspage/supervisor.py", "cannot be started ("),
    ("statuspage/supervisor.py", "cannot be cut ("),
    ("statuspage/supervisor.py", "killing it"),
    ("statuspage/supervisor.py", "; stop it, or name another folder"),
    ("statuspage/prepare.py", "the database holds a page that no demo made"),
    ("statuspage/supervisor.py", "the start was refused; the sentence above says why"),
    ("probes/agent/prober.py", "checks not fetched from"),
    ("desk/ground.py", "the database takes no writes ("),
    ("desk/ground.py", "the disk under "),
    ("statuspage/schema.py", "the database is newer than this code ("),
    ("statuspage/schema.py", "the database is older than this code ("),
]


@pytest.mark.parametrize(("file", "sentence"), _SAID, ids=[sentence for _, sentence in _SAID])
def test_the_runbook_knows_the_sentences_that_are_logged(file: str, sentence: str) -> None:
    assert sentence in (ROOT / file).read_text(encoding="utf-8")
    assert sentence in (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")


def test_the_table_of_calls_is_what_the_openapi_says() -> None:
    made = reference.table(api.get_openapi_schema())
    there = REFERENCE[REFERENCE.index(reference.BEGIN) : REFERENCE.index(reference.END)]
    assert there + reference.END == made, "print it anew: ./run manage api_reference"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        pytest.param(REQUESTS_PER_MINUTE, "| {} a minute", id="requests of a key"),
        pytest.param(entrance.JSON_DEPTH_MAX, "2 MB, {} levels", id="depth of a body"),
        pytest.param(entrance.FORM_KEYS_MAX, "a form {} fields", id="fields of a form"),
        pytest.param(BODY_CHARS_MAX, "255, {} characters", id="a text"),
        pytest.param(metrics.POINTS_MAX, "{} a request, 28 days back", id="points"),
        pytest.param(lookup.COMPONENTS_MAX, "{} named in a request", id="components"),
        pytest.param(intake_views.ALERTS_MAX, "{} alerts and 32 MB a request", id="alerts"),
        pytest.param(siteconfig.NODES_MAX, "1 MB, {} values", id="site.yaml"),
        pytest.param(moving_in.INCIDENTS_MAX, "{} incidents | one sentence", id="import"),
    ],
)
def test_the_limits_of_the_doors_are_those_of_the_code(value: int, words: str) -> None:
    assert words.format(f"{value:,}") in THERE
