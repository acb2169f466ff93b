"""The layers, read from the imports themselves, and the budgets of files and functions."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "crvae3d"
LAYERS = [
    {"errors", "typing", "allocator", "device"},
    {"core"},
    {"points", "images"},
    {"training", "evaluation"},
    {"viewers"},
    {"datasets"},
    {"experiment"},
    {"cli"},
    {"__init__", "__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
FILES = sorted(PACKAGE.rglob("*.py"))


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> set[str]:
    """Every module that is imported anywhere in a file, inside functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, "imports are absolute"
            found |= {f"{node.module}.{name.name}" for name in node.names}
    return found


def lines_of(function: ast.FunctionDef) -> int:
    """Its length without the docstring, which should never be cut short for a budget."""
    first, told = function.body[0], ast.get_docstring(function)
    return function.end_lineno - function.lineno + 1 - (first.end_lineno - first.lineno + 1 if told else 0)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
class TestEveryFile:
    def test_imports_only_the_layers_below_its_own(self, path):
        mine = part_of(path)
        for module in imported(ast.parse(path.read_text())):
            if module.startswith("crvae3d."):
                theirs = module.split(".")[1]
                assert theirs == mine or RANK[theirs] < RANK[mine], f"{mine} imports {module}"

    def test_is_short_and_so_are_its_functions(self, path):
        text = path.read_text()
        assert text.count("\n") <= 300
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert lines_of(node) <= 40, f"{node.name} has {lines_of(node)} lines"


def test_the_core_imports_torch_alone():
    allowed = {"torch", "math", "dataclasses", "collections", "crvae3d"}
    for path in (PACKAGE / "core").glob("*.py"):
        assert {module.split(".")[0] for module in imported(ast.parse(path.read_text()))} <= allowed, path.name


def test_the_core_speaks_of_no_modality():
    for path in (PACKAGE / "core").glob("*.py"):
        if path.name == "model.py":
            continue  # its opening sentence says what x may be
        words = path.read_text().lower()
        assert not any(word in words for word in ("cloud", "image", "pointnet", "pixel3d", "mesh")), path.name


def test_no_grab_bags():
    assert not {path.stem for path in FILES} & {"utils", "helpers", "common", "base"}


def test_help_imports_nothing_heavy():
    import subprocess
    import sys

    code = (
        "import sys; from crvae3d.cli.main import parser; parser().format_help();"
        "print([m for m in ('torch', 'numpy', 'lightning', 'torch_geometric', 'sklearn') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
