"""Encode and decode shapes or images: a cloud or mesh of each in its own units, or an image, and a picture of the first.

examples:
  crvae3d reconstruct runs/cr my_meshes -o out                a folder of meshes or clouds
  crvae3d reconstruct runs/cr chair.obj -o out --points 4096  one shape, denser than in the training
  crvae3d reconstruct runs/cr my_meshes -o out --mesh         the folded surface, as a mesh
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN, INPUT and where the results go."""
    parser.add_argument("run_folder", metavar="RUN", help="run folder")
    parser.add_argument("input", metavar="INPUT", help="folder, archive, mesh, cloud, picture or named dataset")
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="DIR", help="folder for the results")
    parser.add_argument("--points", type=int, metavar="N", help="points to decode a shape (default: as trained)")
    parser.add_argument(
        "--mesh", action="store_true", help="write the folded surface of each shape, not its points alone"
    )
    parser.add_argument("--data", metavar="PATH", help="where named datasets lie")
    parser.add_argument("--plugin", type=Path, metavar="FILE", help="a Python file that adds encoders of your own")
    parser.add_argument("--quiet", action="store_true", help="show no progress")


def run(arguments: argparse.Namespace) -> None:
    """Reconstruct, then say what was written."""
    from crvae3d.experiment.plugin import load_plugin
    from crvae3d.experiment.reconstruct import reconstruct

    load_plugin(arguments.plugin)
    files = reconstruct(
        arguments.run_folder,
        arguments.input,
        arguments.output,
        arguments.points,
        arguments.mesh,
        root=arguments.data,
        progress=not arguments.quiet,
    )
    shapes = "meshes" if arguments.mesh else "clouds"
    kind, table = ("images", "mean_squared_error.csv") if files[0].suffix == ".png" else (shapes, "chamfer.csv")
    print(f"{arguments.output}: {len(files)} {kind} ({files[0].suffix}), reconstructions.png, {table}")
