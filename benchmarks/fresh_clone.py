"""What a newcomer meets: a fresh clone, an empty home folder, `make demo` and `make test`, timed.

python benchmarks/fresh_clone.py            writes results/fresh_clone.json
"""

import argparse
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from crvae3d.experiment.settings import provenance

ROOT = Path(__file__).parent.parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--targets", nargs="*", default=["test", "demo"])
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home, clone = Path(place) / "home", Path(place) / "crvae3d"
        home.mkdir()
        subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("CRVAE3D", "VIRTUAL", "OMP"))}
        environment = kept | {"HOME": str(home), "TORCHINDUCTOR_CACHE_DIR": str(home / "inductor")}
        seconds = {}
        for target in ("install", *asked.targets):
            started = time.monotonic()
            subprocess.run(["make", target], cwd=clone, env=environment, check=True)
            seconds[target] = round(time.monotonic() - started, 1)
        figures = clone / "demo" / "figures.json"
        demo = json.loads(figures.read_text()) if figures.exists() else {}
        if demo:  # kept to be looked at
            shutil.copytree(clone / "demo", ROOT / "demo", dirs_exist_ok=True)
    kept = ("svm_accuracy", "svm_accuracy_pooled", "untrained_accuracy", "chamfer", "consistency_gap", "alarms")
    demo = {run: {name: one[name] for name in kept} for run, one in demo.items()}
    result = {"what": "fresh clone, empty home", "made_by": provenance(), "seconds": seconds, "demo": demo}
    (ROOT / "benchmarks" / "results" / "fresh_clone.json").write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
