"""Label selectors: what matches, and what isn't one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.selector import parse_selector

LABELS = {"app": "web", "tier": "test", "example.com/zone": "a", "empty": ""}


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        ("app=web", True),
        ("app==web", True),
        ("app = web , tier = test", True),
        ("app=other", False),
        ("app!=web", False),
        ("app!=other", True),
        ("missing!=web", True),
        ("app", True),
        ("missing", False),
        ("!missing", True),
        ("! app", False),
        ("example.com/zone in (a, b)", True),
        ("example.com/zone in (b,c)", False),
        ("example.com/zone notin (b,c)", True),
        ("missing notin (a)", True),
        ("missing in (a)", False),
        ("app in (web),tier notin (prod),!old", True),
        ("app=web,tier=prod", False),
        ("empty=", True),
        ("app=", False),
        ("in", False),
    ],
)
def test_matching(selector: str, expected: bool) -> None:
    predicate = parse_selector(selector)
    assert predicate is not None
    assert predicate(LABELS) is expected


@pytest.mark.parametrize("selector", ["", "  "])
def test_empty_selector_takes_all(selector: str) -> None:
    assert parse_selector(selector) is None


@pytest.mark.parametrize(
    "selector",
    [",", "a=b,", "=b", "a in b", "a in (", "a in (b", "a b", "a=b c=d", "!", "-a", "a=-b"],
)
def test_malformed_selector_is_refused(selector: str) -> None:
    with pytest.raises(ValueError, match=r"can't be read|comma"):
        parse_selector(selector)


@given(st.text(max_size=60))
def test_any_text_is_a_selector_or_an_error(text: str) -> None:
    try:
        predicate = parse_selector(text)
    except ValueError:
        return
    assert predicate is None or predicate(LABELS) in (True, False)


@pytest.mark.parametrize(
    ("selector", "required"),
    [
        ("app=web", {"app": {"web"}}),
        ("app in (web, db),tier==test", {"app": {"web", "db"}, "tier": {"test"}}),
        ("app in (a,b),app in (b,c)", {"app": {"b"}}),
        ("app=a,app=b", {"app": set()}),
        ("app!=web,tier notin (x),old,!new", {}),
    ],
)
def test_what_a_selector_requires(selector: str, required: dict[str, set[str]]) -> None:
    parsed = parse_selector(selector)
    assert parsed is not None
    assert parsed.required == required
