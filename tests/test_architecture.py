"""The house is as docs/architecture.md draws it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "sightline"


DOCUMENT = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
PARTS = DOCUMENT.split("\n## Rooms\n")[1].split("\n## ")[0].split("\n### ")


def rows(part: str) -> list[str]:
    """The names in the first column of a table, from top to bottom."""
    return re.findall(r"^\| `(\w+)/?` \|", part, re.MULTILINE)


ROOMS = rows(PARTS[0])
MODULES = {part[1 : part.index("/")]: rows(part) for part in PARTS[1:]}


def imports_of(path: Path) -> Iterator[list[str]]:
    """What a file imports of the package, also inside functions: each as room, module, …"""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "sightline":
            for alias in node.names:
                yield [*node.module.split("."), alias.name][1:]
        elif isinstance(node, ast.Import):
            yield from (a.name.split(".")[1:] for a in node.names if a.name.startswith("sightline."))


def place_of(path: Path) -> list[str]:
    return list(path.relative_to(PACKAGE).with_suffix("").parts)


FILES = [path for path in PACKAGE.rglob("*.py") if place_of(path) != ["__init__"]]


def test_every_file_has_a_room_in_the_document() -> None:
    """The tables name all rooms, and all modules of those that have a table; and nothing else."""
    assert set(ROOMS) == {place_of(path)[0] for path in FILES}
    for room, modules in MODULES.items():
        assert set(modules) == {path.stem for path in (PACKAGE / room).glob("*.py")} - {"__init__"}, room


def test_imports_only_go_up_the_tables() -> None:
    """No module imports, even lazily, from a room that stands below its own, nor from a module below it."""
    for path in FILES:
        room, *module = place_of(path)
        rooms_below = ROOMS[ROOMS.index(room) + 1 :]
        order = MODULES.get(room, [])
        modules_below = order[order.index(module[0]) + 1 :] if module and module[0] in order else []
        for imported in imports_of(path):
            below = imported[0] in rooms_below or (
                imported[0] == room and len(imported) > 1 and imported[1] in modules_below
            )
            assert not below, f"{path.relative_to(ROOT)} imports {'.'.join(imported)}, which stands below it"


def test_no_test_module_is_imported() -> None:
    """What tests share stands in modules of its own: a test may be moved or deleted alone."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert not [name for name in names if name.startswith("test_")], path.relative_to(ROOT)
