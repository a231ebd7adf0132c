"""The structure of the library: which room may import which, and what a room's door holds."""

import ast
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[1] / "workflow/tokenshift"
MODULES = sorted(LIBRARY.rglob("*.py"))

# Rooms and single modules, each of which imports only from those before it.
ORDER = [
    *("errors", "atomic", "noise", "progress", "registries", "config", "summary", "artifacts", "schemas", "shards"),
    *("provenance", "cluster", "command", "distributions", "problems", "policies", "scoring", "cross_sampling"),
    *("training", "rl", "costs", "tables", "figures", "viewer"),
]


def dotted(module: Path) -> str:
    parts = module.relative_to(LIBRARY.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {dotted(module) for module in MODULES}


def imported(module: Path) -> set[str]:
    """Modules of the library that `module` imports, anywhere in its text."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            members = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= members & NAMES or {node.module}
    return {name for name in found if name.split(".")[0] == "tokenshift"}


def room(name: str) -> str:
    return name.split(".")[1]


@pytest.mark.parametrize("module", [module for module in MODULES if dotted(module) != "tokenshift"], ids=dotted)
def test_no_arrow_runs_back(module):
    own = room(dotted(module))
    before = {own, *ORDER[: ORDER.index(own)]}
    assert {name for name in imported(module) if room(name) not in before} == set()


def test_no_module_comes_back_to_itself():
    edges = {dotted(module): imported(module) for module in MODULES}
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in finished:
            for other in edges[name]:
                visit(other, (*path, name))
            finished.add(name)

    for name in edges:
        visit(name, ())


@pytest.mark.parametrize("door", sorted(LIBRARY.rglob("__init__.py")), ids=dotted)
def test_a_room_s_door_holds_its_description_alone(door):
    (statement,) = ast.parse(door.read_text()).body
    assert isinstance(statement, ast.Expr)
    assert isinstance(statement.value, ast.Constant)


def test_few_modules_belong_to_no_room():
    assert len([file for file in LIBRARY.glob("*.py") if file.stem != "__init__"]) <= 9


@pytest.mark.parametrize("module", MODULES, ids=dotted)
def test_no_file_needs_much_scrolling(module):
    assert len(module.read_text().splitlines()) <= 350


def test_the_library_knows_nothing_of_snakemake():
    assert [module for module in MODULES if "import snakemake" in module.read_text()] == []
