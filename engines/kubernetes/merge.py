"""Kubernetes' strategic merge patch, as far as a pod template needs it.

The rules are those of k8s.io/apimachinery/pkg/util/strategicpatch, told in sig-api-machinery's
strategic-merge-patch.md:

- objects merge, null removes a member, anything else replaces what was there;
- lists replace, but for those whose elements have a merge key (`patchMergeKey` in k8s.io/api): of
  these, the elements with the same key merge, and new ones are added. Here they come last, where
  the API server may put them first: what was there keeps its place;
- `$patch: replace` in an object keeps nothing of the old one, `$patch: delete` leaves it empty;
  in an element of a list with a merge key, `replace` keeps nothing of the old list, and `delete`
  removes the element with that key.

Results were compared with those of the API server of 1.34. The directives that kubectl makes up
for itself ($retainKeys, $setElementOrder, $deleteFromPrimitiveList) are refused.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

Json = Mapping[str, Any]

MERGE_KEYS: Final[Mapping[str, str]] = {
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
"""By the list's name: what its elements are told apart by. Tolerations, for one, have none."""

_DIRECTIVE: Final = "$patch"


class PatchError(ValueError):
    """A patch can't be applied. `path` says where in it."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(why)
        self.path = path


def strategic_merge(base: Json, patch: Json) -> dict[str, Any]:
    """A pod template with a patch over it. Both stay as they are; the result shares parts of them.

    Raises PatchError.
    """
    return _merge_objects(base, patch, "")


def under(path: str, key: str) -> str:
    """The path of an object's member."""
    return f"{path}.{key}" if path else key


def _merge_objects(base: Json, patch: Json, path: str) -> dict[str, Any]:
    if _DIRECTIVE in patch:
        rest = {key: value for key, value in patch.items() if key != _DIRECTIVE}
        match patch[_DIRECTIVE]:
            case "replace":
                return _merge_objects({}, rest, path)
            case "delete":
                return {}
            case _:
                raise PatchError(under(path, _DIRECTIVE), "is neither 'replace' nor 'delete'")
    merged = dict(base)
    for key, value in patch.items():
        if key.startswith("$"):
            raise PatchError(under(path, key), "is no directive that is known here: leave it out")
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merge_values(merged.get(key), value, key, under(path, key))
    return merged


def _merge_values(base: object, patch: object, key: str, path: str) -> object:
    match patch:
        case dict():
            old: Json = cast("Json", base) if isinstance(base, dict) else {}
            return _merge_objects(old, cast("Json", patch), path)
        case list() if key in MERGE_KEYS:
            elements = cast("list[Json]", base) if isinstance(base, list) else []
            return _merge_lists(elements, cast("list[object]", patch), MERGE_KEYS[key], path)
        case _:
            return patch


def _merge_lists(base: list[Json], patch: Sequence[object], key: str, path: str) -> list[Json]:
    merged: list[Json] = list(base)
    added: list[Json] = []
    for index, element in enumerate(patch):
        where = f"{path}[{index}]"
        if not isinstance(element, dict):
            raise PatchError(where, "is no object")
        patched = cast("Json", element)
        directive = patched.get(_DIRECTIVE)
        if directive not in ("replace", "delete") and _DIRECTIVE in patched:
            raise PatchError(under(where, _DIRECTIVE), "is neither 'replace' nor 'delete'")
        if directive == "replace":
            merged = []  # and the element is nothing else, whatever else it has
            continue
        if key not in patched:
            raise PatchError(where, f"has no {key}: it tells which element is meant")
        if directive == "delete":
            merged = [each for each in merged if each.get(key) != patched[key]]
        else:
            added.append(patched)
    for patched in added:
        where = f"{path}[{patched[key]}]"
        for index, old in enumerate(merged):
            if old.get(key) == patched[key]:
                merged[index] = _merge_objects(old, patched, where)
                break
        else:
            merged.append(_merge_objects({}, patched, where))
    return merged
