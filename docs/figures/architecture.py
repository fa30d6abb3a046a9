"""The rooms of the package and what goes from one to the other, read off the imports."""

from __future__ import annotations

import ast
import textwrap
from collections.abc import Iterator
from pathlib import Path

from docs.figures.results import ROOT

PACKAGE = ROOT / "recent_prune"
PROBE = "probe"
LEFT_OUT = {"recent_prune", "__main__", "networks", "data", "mean_field", "notebook", "testing"}
"""What all may use: the way of a trial does not lead through it."""

LABEL = 34
"""Characters of a line in a box."""

Edges = set[tuple[str, str]]
"""From a room to one that imports it: what the one makes, the other takes."""


def imports() -> Edges:
    """Between rooms, for types alone included."""
    found = set()
    for file in sorted(PACKAGE.rglob("*.py")):
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for imported in _imported(file):
            pair = (_room(imported), _room(module))
            if pair[0] != pair[1] and not set(pair) & LEFT_OUT:
                found.add(pair)
    return found


def reduced(edges: Edges) -> Edges:
    """Without those that a longer way makes superfluous: what is left is to be read."""
    kept = set(edges)
    for edge in sorted(edges):
        if edge[1] in _reached(edge[0], kept - {edge}):
            kept.discard(edge)
    return kept


def rooms() -> str:
    """The rooms in Mermaid, those of the probe in a box of their own."""
    edges = reduced(imports())
    known = sorted({room for edge in imports() for room in edge})
    inner = [room for room in known if room.startswith(f"{PROBE}/")]
    lines = ["```mermaid", "flowchart TD", '    loop(["your model, batches and training"])']
    lines += ['    subgraph the_probe ["probe/"]']
    lines += [f"        {_node(room)}" for room in [*inner, PROBE]]
    lines += ["    end", *(f"    {_node(r)}" for r in known if r not in (*inner, PROBE))]
    lines += ["    loop --> probe_batches"]
    lines += [f"    {_name(a)} --> {_name(b)}" for a, b in sorted(edges)]
    return "\n".join([*lines, "```"])


def _imported(file: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        modules = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        yield from (m for m in modules if m.split(".")[0] == "recent_prune")


def _room(module: str) -> str:
    """A folder of the package or of the probe; else a module at the top."""
    parts = module.split(".")
    if len(parts) == 1:
        return parts[0]
    if parts[1] == PROBE and len(parts) > 2 and (PACKAGE / PROBE / parts[2]).is_dir():
        return f"{PROBE}/{parts[2]}"
    return parts[1]


def _reached(start: str, edges: Edges) -> set[str]:
    seen, ahead = {start}, [start]
    while ahead:
        room = ahead.pop()
        new = {b for a, b in edges if a == room} - seen
        seen |= new
        ahead += new
    return seen


def _name(room: str) -> str:
    return room.replace("/", "_")


def _node(room: str) -> str:
    """A box with what the room is for: the first sentence of its docstring."""
    folder = PACKAGE / room
    file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    docstring = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8")))
    assert docstring is not None, file
    sentence = docstring.splitlines()[0].rstrip(".").replace('"', "'").replace("`", "")
    shown = f"{room}/" if folder.is_dir() else f"{room}.py"
    lines = [f"<b>{shown}</b>", *textwrap.wrap(sentence, LABEL)]
    return f'{_name(room)}["{"<br>".join(lines)}"]'
