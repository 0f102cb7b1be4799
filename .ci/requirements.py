"""Print requirements of pyproject.toml, as pip takes them.

lowest   the lowest versions that it promises: `scipy==1.13` ..., but for torch and torchvision,
which are too large to install twice, and for the tools of the extras docs and dev
light    what the commands that need no torch need
"""

import sys
import tomllib
from pathlib import Path

from packaging.requirements import Requirement

LARGE = {"torch", "torchvision"}
WITH_TORCH = {*LARGE, "lightning", "torchmetrics", "tensorboard", "scikit-learn", "safetensors"}
WITH_TORCH |= {"torchdiffeq", "mlxtend"}  # which would install torch, or is not imported before it
EXTRAS = ("export", "parallel", "slurm", "search")

file = Path(__file__).parent.parent / "pyproject.toml"
project = tomllib.loads(file.read_text(encoding="utf-8"))["project"]
dependencies = [Requirement(text) for text in project["dependencies"]]
if sys.argv[1:] == ["lowest"]:
    for extra in EXTRAS:
        dependencies += map(Requirement, project["optional-dependencies"][extra])
    for requirement in dependencies:
        if requirement.name not in LARGE:
            (lowest,) = (part.version for part in requirement.specifier if part.operator == ">=")
            print(f"{requirement.name}=={lowest}")
elif sys.argv[1:] == ["light"]:
    print(*(each for each in dependencies if each.name not in WITH_TORCH), sep="\n")
else:
    sys.exit("lowest or light?")
