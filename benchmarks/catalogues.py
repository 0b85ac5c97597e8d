"""The catalogues of locale/: `python -m benchmarks.catalogues` gathers new sentences and compiles; needs Debian's gettext."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from django.utils.translation.template import templatize

ROOT = Path(__file__).resolve().parent.parent
LOCALE = ROOT / "locale"
LANGUAGES = ("es", "fr", "de", "ar")
# What must stand before a language is offered (issue of the people's room): Spanish whole, the others for the most part.
SHARE_MIN = {"es": 1.0, "fr": 0.6, "de": 0.6, "ar": 0.6}
SOURCES = (
    *("subscribers/**/*.py", "notifications/**/*.py"),
    *("templates/subscribers/*.html", "templates/notifications/*"),
)
KEYWORDS = (
    "say:2",
    "N_",
    "gettext_noop",
    "gettext_lazy",
    "gettext",
    "ngettext:1,2",
    "pgettext:1c,2",
)
PLURALS = {
    "ar": "nplurals=6; plural=n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : n%100>=3 && n%100<=10 ? 3 : n%100>=11 && n%100<=99 ? 4 : 5;",
    "fr": "nplurals=2; plural=n > 1;",
}


def gather() -> str:
    """Return the template: every sentence that is marked, in the order of files."""
    with tempfile.TemporaryDirectory() as folder:
        copies = []
        for pattern in SOURCES:
            for path in sorted(ROOT.glob(pattern)):
                name = str(path.relative_to(ROOT))
                text = path.read_text(encoding="utf-8")
                copy = Path(folder) / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_text(
                    templatize(text) if name.startswith("templates") else text, encoding="utf-8"
                )
                copies.append(name)
        command = [
            "xgettext",
            "--language=Python",
            "--from-code=UTF-8",
            "--no-location",
            "--no-wrap",
            "--output=-",
            "--add-comments=Translators",
        ]
        command += [f"--keyword={word}" for word in KEYWORDS]
        done = subprocess.run(
            [*command, *copies], cwd=folder, capture_output=True, text=True, check=True
        )
    return re.sub(r'"POT-Creation-Date:.*\n', "", done.stdout)


def po(language: str) -> Path:
    return LOCALE / language / "LC_MESSAGES" / "django.po"


def merge() -> None:
    """Bring the catalogues up to the code; what is new stands there without a translation."""
    with tempfile.NamedTemporaryFile("w", suffix=".pot", encoding="utf-8") as template:
        template.write(gather())
        template.flush()
        for language in LANGUAGES:
            path = po(language)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                plural = PLURALS.get(language, "nplurals=2; plural=(n != 1);")
                path.write_text(
                    f'msgid ""\nmsgstr ""\n"Language: {language}\\n"\n"MIME-Version: 1.0\\n"\n'
                    f'"Content-Type: text/plain; charset=UTF-8\\n"\n"Content-Transfer-Encoding: 8bit\\n"\n"Plural-Forms: {plural}\\n"\n',
                    encoding="utf-8",
                )
            subprocess.run(
                [
                    "msgmerge",
                    "--quiet",
                    "--no-fuzzy-matching",
                    "--no-wrap",
                    "--backup=none",
                    "--update",
                    path,
                    template.name,
                ],
                check=True,
            )
            subprocess.run(
                ["msgattrib", "--no-obsolete", "--no-wrap", "--output-file", path, path], check=True
            )


def compiled(language: str) -> bytes:
    with tempfile.NamedTemporaryFile(suffix=".mo") as found:
        subprocess.run(
            ["msgfmt", "--check-format", "--no-hash", "--output-file", found.name, po(language)],
            check=True,
        )
        return Path(found.name).read_bytes()


def statistics(language: str) -> tuple[str, float]:
    """Return msgfmt's own sentence, and the share that is translated."""
    done = subprocess.run(
        ["msgfmt", "--statistics", "--output-file=/dev/null", po(language)],
        capture_output=True, text=True, check=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    counts = [
        int(number)
        for number in re.findall(r"(\d+) (?:translated|fuzzy|untranslated)", done.stderr)
    ]
    return done.stderr.strip(), counts[0] / max(1, sum(counts))


def main() -> int:
    merge()
    for language in LANGUAGES:
        po(language).with_suffix(".mo").write_bytes(compiled(language))
        print(f"{language}: {statistics(language)[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
