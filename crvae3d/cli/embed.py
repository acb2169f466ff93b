"""Codes of shapes or images: posterior means, ready for an index, a classifier or a plot.

examples:
  crvae3d embed runs/cr my_meshes -o codes.npz        a folder of meshes or clouds, sub-folders are labels
  crvae3d embed runs/cr chair.obj -o codes.npz        one shape
  crvae3d embed runs/cr modelnet10 -o codes.parquet   a named dataset
  crvae3d embed runs/nvae my_pictures -o codes.npz    pictures, by a model of images

The file holds codes, deviations and ids, labels where there are any, and of a dataset with several parts the split of each;
codes.failures.csv names what was not read. A model of black and white images draws each grey one once, by a generator that
its id seeds.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, INPUT and where the codes go."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder")
    parser.add_argument("input", metavar="INPUT", help="folder, archive, mesh, cloud, picture or named dataset")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FILE", help="codes.npz or codes.parquet")
    parser.add_argument("--data", metavar="PATH", help="where named datasets lie")
    parser.add_argument("--plugin", type=Path, metavar="FILE", help="a Python file that adds encoders of your own")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> None:
    """Embed, then say what was written."""
    from crvae3d.experiment.embed import embed
    from crvae3d.experiment.plugin import load_plugin

    load_plugin(arguments.plugin)
    table = embed(
        arguments.run_folder, arguments.input, arguments.output, root=arguments.data, progress=not arguments.quiet
    )
    print(f"{arguments.output}: {len(table['ids'])} codes of {table['codes'].shape[1]} numbers")
