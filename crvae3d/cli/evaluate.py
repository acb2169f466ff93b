"""Judge frozen codes: linear SVM on clean, turned and thinned shapes, chamfer, consistency gap, beside untrained controls.

Several runs make one comparison. What is chosen (C, k) is chosen on a part of the training split.

examples:
  crvae3d evaluate runs/cr                                      figures, and runs/cr/page.html
  crvae3d evaluate runs/vae runs/cr --page compare.html         side by side
  crvae3d evaluate runs/cr --split validation                   without a look at the test split
  crvae3d evaluate runs/cr --train a.npz --test b.npz           any two labelled datasets, new classes included
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN and what it is judged on."""
    add = parser.add_argument
    add("run_folders", nargs="+", type=Path, metavar="RUN", help="run folders; several are compared")
    add("--split", choices=("test", "validation"), default="test", help="which part is judged (default: test)")
    add("--train", metavar="PATH", help="labelled shapes to fit classifiers on, instead of the run's own")
    add("--test", metavar="PATH", help="labelled shapes to judge them by")
    add("--data", metavar="PATH", help="where named datasets lie")
    add("--json", type=Path, metavar="FILE", help="write all figures")
    add("--page", type=Path, metavar="FILE", help="the page (default: page.html in the last RUN)")
    add("--seed", type=int, default=0, help="of views, episodes and clusters (default: 0)")
    add("--plugin", type=Path, metavar="FILE", help="a Python file that adds encoders or transformations of your own")
    add("--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> None:
    """Evaluate, print the table, write page and figures."""
    from crvae3d.experiment.evaluate import evaluate_runs
    from crvae3d.experiment.plugin import load_plugin
    from crvae3d.viewers.terminal import print_table

    load_plugin(arguments.plugin)
    found = evaluate_runs(
        arguments.run_folders,
        train=arguments.train,
        test=arguments.test,
        split=arguments.split,
        root=arguments.data,
        seed=arguments.seed,
        page=arguments.page or arguments.run_folders[-1] / "page.html",
        figures_file=arguments.json,
        progress=not arguments.quiet,
    )
    print_table(found)
