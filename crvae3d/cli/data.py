"""List the datasets, check one for bad files and duplicates, or pack one into archives.

examples:
  crvae3d data list                               names, and where they are looked for
  crvae3d data check my_meshes                    every bad file with its reason, every duplicate
  crvae3d data pack my_meshes -o my_meshes.npz    one archive a split, for exchange
"""

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """list, check DATA, pack DATA -o FILE."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    examples = [f"example:\n{line}" for line in __doc__.splitlines() if line.startswith("  crvae3d")]
    listing = actions.add_parser("list", help="the named datasets", epilog=examples[0])
    check = actions.add_parser("check", help="read all of a dataset and say what is wrong with it", epilog=examples[1])
    pack = actions.add_parser("pack", help="write a dataset as one archive a split", epilog=examples[2])
    for action in (check, pack):
        action.add_argument("input", metavar="DATA", help="name, folder, archive or file")
        action.add_argument("--quiet", action="store_true", help="show no progress")
    for action in (listing, check, pack):
        action.add_argument("--data", metavar="PATH", help="where named datasets lie")
    pack.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="archive, ending in .npz")
    pack.add_argument("--points", type=int, metavar="N", help="points a shape (default: 2048, or all)")
    pack.add_argument("--overwrite", action="store_true", help="replace archives that are there")


def run(arguments: argparse.Namespace) -> None:
    """Run the action."""
    {"list": _list, "check": _check, "pack": _pack}[arguments.action](arguments)


def _list(arguments: argparse.Namespace) -> None:
    from crvae3d.datasets.load import DATASETS, IMAGE_DATASETS
    from crvae3d.datasets.store import data_folder

    print("named datasets of shapes:", ", ".join(DATASETS))
    print("named datasets of images:", ", ".join(IMAGE_DATASETS))
    print("also: any folder or zip of meshes, of clouds or of pictures, one mesh, or an .npz archive of clouds")
    print("named datasets are looked for, and downloads land, in", data_folder(arguments.data))


def _check(arguments: argparse.Namespace) -> None:
    from crvae3d.datasets.check import check

    print(check(arguments.input, root=arguments.data, progress=not arguments.quiet))


def _pack(arguments: argparse.Namespace) -> None:
    from crvae3d.datasets.pack import pack

    written = pack(
        arguments.input,
        arguments.output,
        arguments.points,
        arguments.overwrite,
        root=arguments.data,
        progress=not arguments.quiet,
    )
    print("\n".join(str(path) for path in written), file=sys.stdout)
