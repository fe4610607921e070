"""The house is as docs/architecture.md draws it."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "src" / "sightline"


def rooms_in_order() -> list[str]:
    table = (ROOT / "docs" / "architecture.md").read_text().split("## Rooms")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)/?` \|", table, re.MULTILINE)


def room_of(module: str) -> str:
    return module.split(".")[1]


def imports_of(path: Path) -> set[str]:
    """The rooms that a file imports from, also inside functions."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sightline."):
            rooms.add(room_of(node.module or ""))
        elif isinstance(node, ast.ImportFrom) and node.module == "sightline":
            rooms.update(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            rooms.update(room_of(a.name) for a in node.names if a.name.startswith("sightline."))
    return rooms


def test_every_file_has_a_room_in_the_document() -> None:
    """The table of rooms names all modules and packages, and nothing else."""
    files = {path.relative_to(PACKAGE).parts[0].removesuffix(".py") for path in PACKAGE.rglob("*.py")}
    assert set(rooms_in_order()) == files - {"__init__"}


def test_imports_only_go_up_the_table() -> None:
    """No module imports, even lazily, from a room that stands below its own."""
    order = rooms_in_order()
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room != "__init__":
            below = order[order.index(room) + 1 :]
            assert imports_of(path).isdisjoint(below), f"{path.relative_to(ROOT)} imports from below"


def test_no_test_module_is_imported() -> None:
    """What tests share stands in modules of its own: a test may be moved or deleted alone."""
    for path in (ROOT / "tests").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("tests"):
                names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
                assert not [name for name in names if name.startswith("test_")], path.relative_to(ROOT)
