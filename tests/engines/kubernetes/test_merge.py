"""Kubernetes' strategic merge patch."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.kubernetes.merge import MERGE_KEYS, PatchError, strategic_merge

A = {"name": "a", "image": "x", "env": [{"name": "E", "value": "1"}]}
B = {"name": "b", "image": "y"}


@pytest.mark.parametrize(
    ("base", "patch", "merged"),
    [
        # Objects.
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": 2}, {"a": 2}),
        ({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}, {"a": {"b": 1, "c": 3}}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
        ({"a": {"b": 2}}, {"a": 1}, {"a": 1}),
        # Null.
        ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
        ({}, {"a": None}, {}),
        ({}, {"a": {"b": None, "c": 1}}, {"a": {"c": 1}}),
        ({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {}}),
        # Lists without a merge key.
        ({"args": ["a", "b"]}, {"args": ["c"]}, {"args": ["c"]}),
        ({"args": ["a"]}, {"args": []}, {"args": []}),
        (
            {"tolerations": [{"key": "a"}]},
            {"tolerations": [{"key": "b"}]},
            {"tolerations": [{"key": "b"}]},
        ),
        # Lists with one.
        ({"containers": [A]}, {"containers": []}, {"containers": [A]}),
        ({"containers": [A]}, {"containers": [B]}, {"containers": [A, B]}),
        ({}, {"containers": [B]}, {"containers": [B]}),
        ({}, {"containers": [{**B, "tty": None}]}, {"containers": [B]}),
        ({"containers": "x"}, {"containers": [B]}, {"containers": [B]}),
        ({"containers": [A]}, {"containers": None}, {}),
        (
            {"containers": [B, A]},
            {"containers": [{"name": "a", "image": "z", "tty": True}]},
            {"containers": [B, {**A, "image": "z", "tty": True}]},
        ),
        (
            {"containers": [A]},
            {"containers": [{"name": "a", "env": [{"name": "F", "value": "2"}]}]},
            {
                "containers": [
                    {**A, "env": [{"name": "E", "value": "1"}, {"name": "F", "value": "2"}]}
                ]
            },
        ),
        # Directives of objects.
        ({"a": {"b": 1}}, {"a": {"$patch": "replace", "c": 2}}, {"a": {"c": 2}}),
        ({"a": {"b": 1}}, {"a": {"$patch": "replace", "b": None}}, {"a": {}}),
        ({"a": {"b": 1}}, {"a": {"$patch": "delete"}}, {"a": {}}),
        ({"a": 1}, {"$patch": "replace", "b": 2}, {"b": 2}),
        # Directives of elements.
        (
            {"containers": [A, B]},
            {"containers": [{"$patch": "delete", "name": "a"}]},
            {"containers": [B]},
        ),
        (
            {"containers": [A]},
            {"containers": [{"$patch": "delete", "name": "c"}]},
            {"containers": [A]},
        ),
        (
            {"containers": [A]},
            {"containers": [{"name": "a", "tty": True}, {"$patch": "delete", "name": "a"}]},
            {"containers": [{"name": "a", "tty": True}]},
        ),
        (
            {"containers": [A]},
            {"containers": [{"$patch": "replace"}, B]},
            {"containers": [B]},
        ),
        ({"containers": [A]}, {"containers": [{"$patch": "replace"}]}, {"containers": []}),
    ],
)
def test_merging(base: dict[str, Any], patch: dict[str, Any], merged: dict[str, Any]) -> None:
    before = copy.deepcopy((base, patch))
    assert strategic_merge(base, patch) == merged
    assert (base, patch) == before


@pytest.mark.parametrize(("name", "key"), MERGE_KEYS.items())
def test_every_merge_key(name: str, key: str) -> None:
    base = {name: [{key: 1, "a": 1}, {key: 2}]}
    merged = strategic_merge(base, {name: [{key: 1, "b": 2}, {key: 3}]})
    assert merged == {name: [{key: 1, "a": 1, "b": 2}, {key: 2}, {key: 3}]}


@pytest.mark.parametrize(
    ("patch", "path"),
    [
        ({"$patch": "merge"}, "$patch"),
        ({"a": {"$patch": None}}, "a.$patch"),
        ({"a": {"$patch": ["replace"]}}, "a.$patch"),
        ({"containers": [{"$patch": "merge", "name": "a"}]}, "containers[0].$patch"),
        ({"containers": [{"$patch": None, "name": "a"}]}, "containers[0].$patch"),
        ({"containers": [{"$patch": "delete"}]}, "containers[0]"),
        ({"containers": [{"image": "x"}]}, "containers[0]"),
        ({"containers": [{"name": "a"}, "b"]}, "containers[1]"),
        ({"containers": [None]}, "containers[0]"),
        ({"containers": [{"name": "a", "env": [{"value": "1"}]}]}, "containers[a].env[0]"),
        ({"a": {"$retainKeys": ["b"]}}, "a.$retainKeys"),
        ({"$setElementOrder/containers": []}, "$setElementOrder/containers"),
    ],
)
def test_patches_that_are_refused(patch: dict[str, Any], path: str) -> None:
    with pytest.raises(PatchError) as raised:
        strategic_merge({"containers": [A]}, patch)
    assert raised.value.path == path


NAMES = st.sampled_from(["a", "b", "args", "env", "volumeMounts"])
LEAVES = st.integers() | st.text(max_size=3) | st.booleans()


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Objects whose lists with a merge key have elements with different ones."""

    def elements(key: str) -> st.SearchStrategy[list[dict[str, Any]]]:
        keys = st.lists(st.sampled_from(["x", "y", "z"]), unique=True)
        return st.builds(
            lambda names, rest: [{**rest, key: name} for name in names],
            keys,
            st.dictionaries(NAMES, LEAVES, max_size=2),
        )

    plain = st.dictionaries(st.sampled_from(["a", "b"]), inner, max_size=2)
    return st.builds(
        lambda *parts: {key: value for part in parts for key, value in part.items()},
        plain,
        st.dictionaries(st.just("args"), st.lists(LEAVES, max_size=2), max_size=1),
        st.dictionaries(st.just("env"), elements("name"), max_size=1),
        st.dictionaries(st.just("volumeMounts"), elements("mountPath"), max_size=1),
    )


OBJECTS = st.recursive(_objects(LEAVES), _objects, max_leaves=4)


@given(OBJECTS)
def test_patches_that_change_nothing(value: dict[str, Any]) -> None:
    assert strategic_merge(value, {}) == value
    assert strategic_merge(value, value) == value
    assert strategic_merge({}, value) == value


@given(OBJECTS, OBJECTS)
def test_a_patch_does_no_more_the_second_time(base: dict[str, Any], patch: dict[str, Any]) -> None:
    once = strategic_merge(base, patch)
    assert strategic_merge(once, patch) == once
