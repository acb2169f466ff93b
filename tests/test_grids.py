"""Grids: what they name, that each can be built, and how a mistake in one is told."""

import json
from pathlib import Path

import pytest

from crvae3d.cli.main import main
from crvae3d.errors import InputError
from crvae3d.experiment import compare
from crvae3d.experiment.comparison import gather
from crvae3d.experiment.grids import GRIDS, read_grid
from crvae3d.experiment.settings import Settings
from crvae3d.experiment.tables import INVARIANT

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def test_the_chosen_cell_is_the_default_and_another_the_invariant_form():
    paper3d = GRIDS["paper3d"]
    grids = [paper3d, *(read_grid(BENCHMARKS / f"{name}.toml") for name in ("neighbourhoods", "full40"))]
    forms = [(grids[1], "contrast over SO(3)", INVARIANT), *((grid, grid.chosen[0], {}) for grid in grids)]
    for grid, cell, form in forms:
        made, named = (Settings.of("modelnet10", **one) for one in (grid.shared | grid[cell].options, form))
        assert made.objective == named.objective and made.model.neighbourhoods == named.model.neighbourhoods


@pytest.mark.parametrize(
    ("place", "data", "grid", "epochs"),
    [
        ("paper3d/test", "modelnet10", "paper3d", None),
        ("neighbourhoods40/validation", "modelnet40", "neighbourhoods.toml", None),
        ("neighbourhoods40_30/validation", "modelnet40", "neighbourhoods.toml", 30),
        ("full40/validation", "modelnet40", "full40.toml", None),
        ("neighbourhoods10/validation", "modelnet10", "neighbourhoods.toml", 20),
        ("neighbourhoods10/test", "modelnet10", "neighbourhoods.toml", 20),
        ("mixed40_30/validation", "modelnet40", "mixed40.toml", 30),
        ("mixed40/validation", "modelnet40", "mixed40.toml", None),
        ("mixed10/validation", "modelnet10", "mixed40.toml", 20),
        ("rotated/validation", "modelnet10", "rotated.toml", None),
        ("rotated40/validation", "modelnet40", "modelnet40.toml", None),
        ("mnist/test", "mnist", "paper-images", None),
        ("omniglot/test", "omniglot", "paper-images", 40),
        ("scarce/test", "mnist", "scarce.toml", None),
        ("nvae/test", "mnist", "nvae.toml", 9),
        ("nvae_digits/test", "digits", "nvae", 150),
    ],
)
def test_a_grid_goes_on_from_every_committed_result_also_of_before_an_option_existed(place, data, grid, epochs):
    out, split = BENCHMARKS / "results" / Path(place).parent, Path(place).name
    cells = json.loads((out / split / "results.json").read_text())["cells"]
    options = {} if epochs is None else {"epochs": epochs}
    known = read_grid(grid if grid in GRIDS else BENCHMARKS / grid)
    tasks = compare.tasks_of(known, data, out, 6, split, None, options)
    runs = {(name, int(seed)): run for name, cell in cells.items() for seed, run in cell["runs"].items()}
    # Hierarchies whose groups were balanced by another rule are trained anew.
    same = {name for name, run in runs.items() if not run["settings"]["objective"].get("balance")}
    assert gather(tasks, out, split).keys() == same


def test_a_run_of_before_there_was_contrast_had_none(tmp_path):
    Settings.of("modelnet10").write(tmp_path)
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert (Settings.read(tmp_path).objective.contrast, Settings.read(tmp_path).objective.temperature) == (1000, 0.2)
    for name in ("contrast", "contrast_transform", "temperature", "cool_down"):
        del kept["objective"][name]
    (tmp_path / "settings.json").write_text(json.dumps(kept))
    assert Settings.read(tmp_path).objective == Settings.of("modelnet10", contrast=0.0).objective


def test_a_run_of_before_contrast_had_views_of_its_own_compared_those_that_it_rebuilt(tmp_path):
    Settings.of("modelnet10").write(tmp_path)
    kept = json.loads((tmp_path / "settings.json").read_text())
    assert Settings.read(tmp_path).objective.contrast_transform == kept["objective"].pop("contrast_transform") == "far"
    (tmp_path / "settings.json").write_text(json.dumps(kept))
    assert Settings.read(tmp_path).objective == Settings.of("modelnet10", contrast_transform="mixed").objective


def views_of(options: dict) -> int:
    return options.get("views", int(options.get("consistency", 1) > 0))


@pytest.mark.parametrize("name", GRIDS)
def test_every_cell_of_the_named_grids_can_be_built(name):
    grid, data = GRIDS[name], "mnist" if name in ("paper-images", "nvae", "quick-images") else "modelnet10"
    for cell in grid.cells:
        settings = Settings.of(data, **(grid.shared | cell.options))
        assert settings.objective.build(lambda family: lambda x, generator: x).views == views_of(
            grid.shared | cell.options
        )
    differing = [Settings.of(data, **(grid.shared | cell.options)) for cell in grid.cells if not cell.control]
    assert len(set(differing)) == len(differing), "two cells are the same training"
    weights = [Settings.of(data, **(grid.shared | grid[name].options)).objective.consistency for name in grid.sweep]
    assert weights == sorted(weights) and len(set(weights)) == len(weights)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('[cells."a"]\nrefrence = 1\n', "did you mean"),
        ('refrence = "a"\n[cells."a"]\n', "did you mean 'reference'"),
        ('reference = "b"\n[cells."aa"]\n', "cell as reference"),
        ("[shared]\nepochs = 1\n", "needs cells"),
        ("cells = [", "is no TOML"),
        ("title = 3\n[cells.a]", "title in a grid is a word in quotes, got 3"),
        ("chosen = [3]\n[cells.a]", "an entry of chosen in a grid is a word"),
        ("[cells.a]\ngroup = 5", "group of a in a grid is a word"),
        ('[judging]\npoint = 3\n[cells."a"]\n', "did you mean 'points'"),
        ('[judging]\npoints = "x"\n[cells."a"]\n', "points must be a whole number"),
        ('cells = ["a"]\n', "needs cells"),
        ('[shared]\nseed = 3\n[cells."a"]\n', "seed is not a grid's to set"),
        ('[cells."a"]\nconsistency = "1"\n', "consistency must be a number"),
        ('[shared]\nepochs = 2.5\n[cells."a"]\n', "epochs must be a whole number"),
        ('shared = 3\n[cells."a"]\n', "shared of a grid is a table"),
        ('judging = 3\n[cells."a"]\n', "judging of a grid is a table"),
        ('chosen = 4\n[cells."a"]\n', "chosen of a grid is a list"),
        ('[cells.".."]\n', "needs a letter or a digit"),
        ('sweep = ["a", "b"]\n[cells."a"]\n[cells."b"]\nbeta = 0.1\n', "from small to large"),
        ('[cells."a"]\ncontrol = "untraind"\n', "did you mean 'untrained'"),
    ],
)
def test_a_grid_with_a_mistake_is_refused_with_advice(tmp_path, text, says):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        compare.compare("shapes", path, tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_settings_of_a_grid_are_written_as_in_python_or_as_on_the_command_line(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[shared]\nbatch-size = 8\n[cells."a"]\ncontrast-transform = "far"\nwarm_up = 0.5\n')
    grid = read_grid(path)
    assert grid.shared == {"batch_size": 8}
    assert grid["a"].options == {"contrast_transform": "far", "warm_up": 0.5}


def test_the_named_grids_can_be_read_by_name_alone():
    assert read_grid("paper3d") is GRIDS["paper3d"]


def test_quick_runs_whole_on_the_shapes_that_the_package_makes(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("CRVAE3D_CACHE", str(tmp_path / "cache"))
    out = tmp_path / "quick"
    command = ["compare", "shapes", "--grid", "quick", "--seeds", "1", "-o", str(out), "--quiet"]
    assert main([*command, "--jobs", "1"]) == 0  # the other core has other tests
    table = (out / "test" / "table.md").read_text()
    for cell in GRIDS["quick"].cells:
        figures = json.loads((out / cell.folder / "seed-0" / "figures_test.json").read_text())
        assert f"| {cell.name}" in table and figures["svm_accuracy"] > 0.6, cell.name
    assert "One seed" in capsys.readouterr().out


def test_a_grid_is_known_by_its_name_as_a_path_too():
    assert read_grid(Path("quick")) is GRIDS["quick"]
