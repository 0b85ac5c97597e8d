"""The audit finds a planted secret, and does not call a list that nobody could read a clean bill."""

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import audit


def test_a_planted_key_is_found_with_its_place(tmp_path: Path) -> None:
    key = "AKIA" + "QYLPMN5HHHFPZAM2"  # made up for this test; whole nowhere in the tree
    (tmp_path / "planted.py").write_text(f"first = 1\nkey = '{key}'\n", encoding="utf-8")
    (tmp_path / "plain.py").write_text("first = 1\nkey = settings.SECRET_KEY\n", encoding="utf-8")
    found = audit.secrets(["planted.py", "plain.py"], root=tmp_path)
    assert {(file, line) for file, line, _, _ in found} == {("planted.py", 2)}


def test_every_known_one_has_its_reason() -> None:
    known = json.loads(audit.KNOWN.read_text(encoding="utf-8"))
    assert known
    assert all(len(digest) == 40 and len(reason) > 10 for digest, reason in known.items())


def test_what_was_skipped_was_not_looked_at() -> None:
    rows: list[dict[str, Any]] = [
        {"name": "a", "version": "1", "vulns": []},
        {"name": "b", "version": "2", "vulns": [{"id": "PYSEC-1"}]},
        {"name": "c", "skip_reason": "Dependency not found on PyPI and could not be audited"},
    ]
    assert audit.read_audit(rows) == (["b 2: PYSEC-1"], ["c"], 2)


def test_nobody_looked_is_another_ending_than_nothing_found(monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(audit, "unknown_secrets", list)
    monkeypatch.setattr(sys, "argv", ["audit"])
    for answer, code in ((([], [], 80), 0), (([], ["c"], 0), 3), ((["b: X"], ["c"], 1), 1)):
        monkeypatch.setattr(audit, "weaknesses", lambda _, answer=answer: answer)
        assert audit.main() == code
    assert "no clean bill" in capsys.readouterr().out
