"""Train and judge a whole grid of variants over several seeds: does consistency help, which form of it, and by how much?

Stopped and started again it goes on with what is missing. The results are DIR/SPLIT/page.html, table.md, table.csv,
results.json and two pictures. A grid is a name or a TOML file:

  reference = "VAE"
  [shared]                           settings of every cell, by the names of `crvae3d train`
  preset = "tiny"
  [cells."VAE"]
  consistency = 0
  [cells."CR-VAE, mirrored"]
  transform = "mirror"               your own: a line that the --plugin file adds to crvae3d.experiment.tables.TRANSFORMS

and, where one wants them: title = "..." of the table; chosen, shown, sweep = ["cell", ...]: those to look at first, whose
curves the picture has, that differ in lambda alone; in a cell group = "heading", against = "cell" that it is set against, and
control = "untrained", "occupancy", "pixels" or "supervised"; [judging] points, robust_shapes and so on, fields of
crvae3d.experiment.grid.Judging.

examples:
  crvae3d compare shapes --grid quick --seeds 2 -o compared          minutes on two cores
  crvae3d compare modelnet10 --grid paper3d --seeds 3 -o paper3d     the paper's comparison in 3D, hours
  crvae3d compare mnist --grid paper-images --seeds 3 -o images      the same on images, hours
  crvae3d compare modelnet10 --grid mine.toml --split validation -o mine
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """DATA, the grid and where it goes."""
    add = parser.add_argument
    add("dataset", metavar="DATA", help="a name, a folder or an .npz archive; with labels")
    add(
        "--grid",
        default="quick",
        metavar="GRID",
        help="quick, paper3d, quick-images, paper-images, nvae, or a TOML file (default: quick)",
    )
    add("--seeds", type=int, default=3, metavar="N", help="seeds 0 to N - 1 (default: 3)")
    add("-o", "--out", type=Path, default=Path("comparison"), metavar="DIR", help="default: comparison")
    add("--split", choices=("test", "validation"), default="test", help="which part is judged (default: test)")
    add("--data", metavar="PATH", help="where named datasets lie")
    add("--cells", nargs="+", default=(), metavar="NAME", help="train no others than these")
    add("--epochs", type=int, metavar="N", help="of every cell, instead of the grid's")
    add("--jobs", type=int, metavar="N", help="cells at a time (default: one a core, or one on a GPU)")
    add("--plugin", type=Path, metavar="FILE", help="a Python file that adds encoders or transformations of your own")
    add("--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> None:
    """Run the grid, print the table, say where the page is."""
    from crvae3d.experiment.compare import compare
    from crvae3d.viewers.comparison import markdown_table

    found = compare(
        arguments.dataset,
        arguments.grid,
        arguments.out,
        seeds=arguments.seeds,
        split=arguments.split,
        root=arguments.data,
        cells=arguments.cells,
        jobs=arguments.jobs,
        plugin=arguments.plugin,
        progress=not arguments.quiet,
        **({} if arguments.epochs is None else {"epochs": arguments.epochs}),
    )
    results = arguments.out / arguments.split
    print(markdown_table(found, found.columns[:5]))
    print(f"{results / 'page.html'}: all figures. {results / 'table.md'}: what each step adds.")
