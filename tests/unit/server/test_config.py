"""The configuration file's grammar, and what is told about mistakes."""

import ast
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vlcp.server.config import ConfigError, Limit, Seconds, load, parse


def test_values_comments_and_continuations() -> None:
    config = parse(
        "# first\n"
        "a.b = 1   # after the value\n"
        "\n"
        "a.text='x' \"y\"\n"
        "a.list = [1,\n"
        "   # inside\n"
        "\n"
        "# at the margin\n"
        "\t2, {'k': (None, True)},\n"
        "  ]\n"
        "a.minus=-1.5\n"
        "a.bytes = b'x'\n"
        "a.slash = 1, \\\n"
        "   2\n"
    )
    assert config.subtree("a") == {
        "b": 1,
        "text": "xy",
        "list": [1, 2, {"k": (None, True)}],
        "minus": -1.5,
        "bytes": b"x",
        "slash": (1, 2),
    }


@pytest.mark.parametrize(
    ("text", "place", "what"),
    [
        (" a = 1", 1, "begins with a blank"),
        ("a = 1\nb\n", 2, "expected `key = value`"),
        ("# c\n1a = 1", 2, "'1a' is not a key"),
        ("a-b = 1", 1, "'a-b' is not a key"),
        ("a..b = 1", 1, "'a..b' is not a key"),
        ("a =", 1, "no value"),
        ("a = [1,\n  2\nb = 1", 1, "never closed"),
        ("a = x", 1, "not a Python literal"),
        ("a = len('x')", 1, "not a Python literal"),
        ("a = 1 + 1", 1, "not a Python literal"),
        ("a = 1\n  2", 1, "not a Python literal"),
        ("a = " + "[" * 3000, 1, "not a Python literal"),
    ],
)
def test_mistakes_are_told_with_line_and_text(text: str, place: int, what: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "x.conf")
    assert str(caught.value).startswith(f"x.conf:{place}: ")
    assert what in str(caught.value)


@pytest.mark.parametrize("character", ["\x0b", "\x0c", "\x1c", "\x85", "\u2028"])
def test_only_ends_of_lines_end_lines(character: str) -> None:
    assert parse(f"a = 'x{character}y'\r\nb = 1").subtree("") == {"a": f"x{character}y", "b": 1}
    with pytest.raises(ConfigError, match=r"^configuration:2: "):
        parse(f"# x{character}y\n1")


def test_a_key_is_a_value_or_a_subtree_whichever_came_last() -> None:
    assert parse("a.b = 1\na.b.c = 2").subtree("a") == {"b": {"c": 2}}
    assert parse("a.b.c = 2\na.b = 1").subtree("a") == {"b": 1}
    assert parse("a = 1\na = 2").get("a") == 2
    assert parse("A = 1").get("a", "none") == "none"


def test_a_dictionary_and_a_subtree_read_the_same() -> None:
    assert parse("s.log = {'x': {'y': 1}}").get("s.log") == parse("s.log.x = {'y': 1}").get("s.log")


LITERALS = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text()
    | st.binary()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
KEYS = st.from_regex(r"[a-c][A-Z0-9_]?(\.[a-c][a-z]?){0,2}", fullmatch=True)


@settings(derandomize=True, max_examples=200)
@given(st.dictionaries(KEYS, LITERALS, max_size=6))
def test_what_is_dumped_is_read_back(values: dict[str, Any]) -> None:
    config = parse("")
    for key, value in values.items():
        config.set(key, value)
    again = parse(config.dump())
    assert list(again.items()) == list(config.items())
    assert ast.literal_eval(repr(again.subtree("a"))) == config.subtree("a")


class Base(msgspec.Struct):
    size: int = 1
    pause: int = 2


class Limits(Base):
    pause: int = 3
    names: tuple[str, ...] = ()


class Tight(Limits):
    size: int = 9


def test_settings_prefer_the_key_then_those_above_it_then_the_default() -> None:
    config = parse("m.d.size = 5\nm.d.pause = 6\nm.x.names = [b'GET', 'POST']", "x.conf")
    assert config.settings(Limits, "m.x", "m.d") == Limits(5, 3, ("GET", "POST"))
    assert config.settings(Limits, "m.y") == Limits()
    assert config.settings(Base, "m.z", "m.d", derived=True) == Base(5, 6)


def test_what_a_structure_declares_anew_is_not_taken_from_above() -> None:
    keys = ("m.tight", "m.limits", "m.d")
    text = "m.d.size = 5\nm.d.pause = 6\nm.d.names = ['d']\nm.limits.size = 7\nm.limits.names = ['a']\n"
    assert parse(text).settings(Tight, *keys) == Tight(9, 3, ("a",))
    assert parse(f"{text}m.limits.pause = 8\nm.tight.size = 1").settings(Tight, *keys) == Tight(1, 8, ("a",))


def test_a_wrong_type_names_the_key_and_its_place() -> None:
    config = parse("# c\nm.x.names = [1]\nm.d.size='a'", "x.conf")
    with pytest.raises(ConfigError, match=r"^x.conf:2: m.x.names = \[1\]: expected `str`, got `int`"):
        config.settings(Limits, "m.x")
    with pytest.raises(ConfigError, match=r"^x.conf:3: m.d.size = 'a'"):
        config.settings(Limits, "m.z", "m.d")


def test_a_dictionary_is_read_like_the_keys_below_it() -> None:
    config = parse("m.x.vhost = {'a': {'size': 4}}")
    assert config.settings(Limits, "m.x.vhost.a").size == 4


def test_what_nobody_asked_for_is_known() -> None:
    config = parse("m.x.siez = 1\nm.x.size = 2\nm.x.in.any = 3\nm.d.other = 4\nn.a = 1\nn.b = 2\no.a.b = 3")
    config.settings(Limits, "m.x", "m.d")
    config.get("n.a")
    assert config.unread() == ["m.x.siez", "m.x.in", "m.d.other", "n.b", "o"]
    config.get("m.x.in")
    assert config.known("m.x") == {"size", "pause", "names", "in"}
    assert config.known("m.d") == {"size"}
    assert config.unread() == ["m.x.siez", "m.d.other", "n.b", "o"]
    assert [key for key, _ in config.items("m.x")] == ["m.x.in.any", "m.x.siez", "m.x.size"]


def test_below_a_key_that_holds_anything_only_what_is_asked_for_is_checked() -> None:
    config = parse("m.vhost.a.size = 1\nm.vhost.a.siez = 1\nm.vhost.b.siez = 1")
    config.get("m.vhost")
    config.settings(Limits, "m.vhost.a")
    assert config.unread() == ["m.vhost.a.siez"]


def test_the_file_is_read_again(tmp_path: Path) -> None:
    file = tmp_path / "x.conf"
    file.write_text("a.b = 1\na.c = 2\na.d = 1")
    config = load(file)
    config.override("a.c", 3, "command line")
    file.write_text("a.b = True\na.c = 4\na.e = 5\n")
    assert config.take(config.again()) == ["a.b", "a.d", "a.e"]
    assert (config.get("a.b"), config.get("a.c"), config.origin("a.c")) == (True, 3, "command line")
    file.write_text("a.b = [")
    with pytest.raises(ConfigError, match=r"x.conf:1: "):
        config.again()
    assert config.get("a.b") is True
    with pytest.raises(ConfigError, match="no file to read again"):
        parse("").again()


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*nosuch\.conf: No such file"):
        load(tmp_path / "nosuch.conf")
    (tmp_path / "latin").write_bytes(b"a = '\xe4'")
    with pytest.raises(ConfigError, match="not UTF-8 text at byte 5"):
        load(tmp_path / "latin")
    (tmp_path / "bom").write_bytes(b"\xef\xbb\xbfa = '\xc3\xa4'")
    assert load(tmp_path / "bom").get("a") == "ä"


def test_the_style_of_existing_files_parses() -> None:
    text = (
        "module.httpserver.url=None\n"
        "module.httpserver.vhost.api.url='tcp://localhost:8081'\n"
        "server.logging.handlers={'fileHandler':{'class':'logging.handlers.TimedRotatingFileHandler',\n"
        "                                        'filename':'/var/log/vlcp.log'}}\n"
        "server.startup = ('vlcp.service.sdn.viperflow.ViperFlow',\n"
        "                  'vlcp.service.utils.autoload.AutoLoad')\n"
    )
    config = parse(text)
    assert config.subtree("module.httpserver") == {
        "url": None,
        "vhost": {"api": {"url": "tcp://localhost:8081"}},
    }
    assert config.get("server.startup")[1] == "vlcp.service.utils.autoload.AutoLoad"


class Timed(msgspec.Struct):
    pause: Seconds = 1.0
    room: Limit = 1


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("m = 5", "x.conf:1: m = 5: expected a dictionary, or keys below it"),
        ("m.pause = 0", "x.conf:1: m.pause = 0: expected `float` > 0"),
        ("m.room = -1", "x.conf:1: m.room = -1: expected `int` >= 1"),
    ],
)
def test_values_that_cannot_work(text: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        parse(text, "x.conf").settings(Timed, "m")
