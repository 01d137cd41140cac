"""Follows docs/engines.md as its reader does: pastes commands, and puts code where it says."""

import ast
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "engines.md"
BLOCK = re.compile(
    r"^```(?P<language>\w+)(?: (?P<place>\S+))?\n(?P<text>.*?)^```", re.MULTILINE | re.DOTALL
)


@dataclass(frozen=True)
class Block:
    """Commands, or code for a place: a file's name, "module" or "class"."""

    language: str
    place: str
    text: str


def steps() -> dict[str, list[Block]]:
    """By heading of the tutorial: its commands, and the code that it gives a place, in order."""
    _, _, tutorial = PAGE.read_text().partition("\n# Write your own\n")
    first, *rest = re.split(r"^## (.*)\n", tutorial, flags=re.MULTILINE)
    texts = {"begin": first} | dict(zip(rest[::2], rest[1::2], strict=True))
    return {title: list(_blocks(text)) for title, text in texts.items()}


def _blocks(text: str) -> Iterator[Block]:
    for found in BLOCK.finditer(text):
        block = Block(found["language"], found["place"] or "", found["text"])
        if block.language == "sh" or block.place:
            yield block


class Module:
    """An engine's module, by its definitions."""

    def __init__(self, text: str) -> None:
        tree = ast.parse(text)
        self.docstring = ast.get_docstring(tree)
        self.imports: list[str] = []
        self.definitions: dict[str, str] = {}
        (engine,) = [node for node in tree.body if _is_engine(node)]
        assert isinstance(engine, ast.ClassDef)
        self.heading = f"class {engine.name}(Engine):"
        self.members = _named(text, engine.body)
        self.take([node for node in tree.body if node is not engine], text)

    def take(self, body: Sequence[ast.stmt], text: str) -> None:
        """Take in what stands in a module, in place of what has the same name."""
        imports = [node for node in body if isinstance(node, ast.Import | ast.ImportFrom)]
        self.imports += [ast.unparse(node) for node in imports]
        self.definitions |= _named(text, body)

    def change(self, block: Block) -> None:
        """Do what the tutorial says."""
        if block.place == "module":
            self.take(ast.parse(block.text).body, block.text)
        else:
            text = textwrap.dedent(block.text)
            self.members |= _named(text, ast.parse(text).body)

    @property
    def text(self) -> str:
        """The module, put together again."""
        members = textwrap.indent("\n\n".join(self.members.values()), "    ")
        parts = (*self.imports, *self.definitions.values(), f"{self.heading}\n{members}")
        return "\n\n".join(parts) + "\n"

    def meaning(self) -> object:
        """What two modules have in common that differ in their layout and order alone."""
        imports = {
            (node.module if isinstance(node, ast.ImportFrom) else "", alias.name)
            for node in ast.parse("\n".join(self.imports)).body
            if isinstance(node, ast.Import | ast.ImportFrom)
            for alias in node.names
        }
        named = ({"def": self.definitions}, {self.heading: self.members})
        return imports, [
            {name: ast.dump(ast.parse(text)) for name, text in each.items()}
            for group in named
            for each in group.values()
        ]


def _is_engine(node: ast.stmt) -> bool:
    return isinstance(node, ast.ClassDef) and any(
        isinstance(base, ast.Name) and base.id == "Engine" for base in node.bases
    )


def _named(text: str, body: Sequence[ast.stmt]) -> dict[str, str]:
    """By name: the source of each definition and assignment."""
    lines = text.splitlines(keepends=True)
    found: dict[str, str] = {}
    for node in body:
        name = _name(node)
        if name:
            decorators = getattr(node, "decorator_list", [])
            begin = min([node.lineno, *(each.lineno for each in decorators)])
            found[name] = textwrap.dedent("".join(lines[begin - 1 : node.end_lineno])).rstrip()
    return found


def _name(node: ast.stmt) -> str:
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return node.name
    if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return ""
