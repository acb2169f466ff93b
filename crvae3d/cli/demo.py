"""Train a plain VAE and the default CR-VAE on shapes that the package makes itself, and compare them.

Takes a few minutes on two cores; ends with a table and a page to open in a browser.

examples:
  crvae3d demo                 into the folder demo
  crvae3d demo --out try --epochs 3
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where to, and how long."""
    parser.add_argument("--out", type=Path, default=Path("demo"), metavar="DIR", help="default: demo")
    parser.add_argument("--epochs", type=int, default=10, metavar="N", help="default: 10")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of weights, order and views (default: 0)")
    parser.add_argument("--overwrite", action="store_true", help="replace runs of other settings")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> None:
    """Train what is not trained yet, compare, say where the page is."""
    from crvae3d.experiment.demo import demo
    from crvae3d.viewers.terminal import print_table

    print_table(demo(arguments.out, arguments.epochs, arguments.seed, arguments.overwrite, not arguments.quiet))
    print(f"Open the page: {(arguments.out / 'page.html').resolve()}")
