"""Every configuration key of version 2 is honoured, or has a reason why it is not; the manual's table is up to date."""

from __future__ import annotations

import ast
import importlib.util
from collections import defaultdict
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from vlcp.server.dropped import ABSENT, CHANGED, DROPPED
from vlcp.server.keys import reason

HERE = Path(__file__).parent


def _facts() -> dict[str, dict[str, Any]]:
    sections: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for line in (HERE / "config_keys.txt").read_text().splitlines():
        if not line.startswith("#"):
            key, _, default = line.partition(" = ")
            section, _, name = key.rpartition(".")
            sections[section][name] = ast.literal_eval(default)
    return dict(sections)


FACTS = _facts()
"""Section -> name -> the default of version 2."""


@cache
def keytable() -> ModuleType:
    """The script that writes the manual's table."""
    spec = importlib.util.spec_from_file_location("keytable", HERE.parent / "docs" / "keytable.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def survey() -> Any:
    return keytable().Survey()


def as_now(value: Any) -> Any:
    """A default as settings have it: text instead of bytes, tuples instead of lists."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list | tuple):
        return tuple(map(as_now, value))
    return value


@pytest.mark.parametrize("section", FACTS)
def test_every_key_is_honoured_or_has_a_reason(section: str) -> None:
    honoured = survey().sections.get(section, {})
    wrong = []
    for name, default in FACTS[section].items():
        key = f"{section}.{name}"
        if name not in honoured:
            if reason(key) is None:
                wrong.append(f"{key} is neither honoured nor told to be without effect")
        elif reason(key) is not None:
            wrong.append(f"{key} is honoured: it is not without effect")
        elif as_now(honoured[name].default) != as_now(default) and key not in CHANGED:
            wrong.append(
                f"{key} has another default, {honoured[name].default!r} for {default!r}: say why in CHANGED"
            )
    assert wrong == []


def test_what_has_a_reason_was_a_key() -> None:
    every = {f"{section}.{name}" for section, names in FACTS.items() for name in names}
    assert [key for key in DROPPED if "*" not in key and key not in every] == []
    assert [section for section in ABSENT if not any(key.startswith(f"{section}.") for key in every)] == []


def test_a_module_that_exists_is_not_absent() -> None:
    assert [name for name in survey().modules if f"module.{name}" in ABSENT] == []


def test_what_has_changed_is_honoured_and_different() -> None:
    for key in CHANGED:
        section, _, name = key.rpartition(".")
        assert as_now(survey().sections[section][name].default) != as_now(FACTS[section][name]), key


def test_every_key_has_a_meaning() -> None:
    """The text below a field in its structure is what the manual says."""
    silent = [f"{section}.{name}" for section, settings in survey().sections.items()
              for name, setting in settings.items() if not setting.meaning]  # fmt: skip
    assert silent == []


def test_the_table_of_the_manual_is_up_to_date() -> None:
    script = keytable()
    assert script.page() == script.PAGE.read_text(), "run: .venv/bin/python docs/keytable.py"
