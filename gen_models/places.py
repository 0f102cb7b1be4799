"""Where `train.py` and `conf/` are: next to the package in a checkout, installed inside of it."""

from pathlib import Path

PACKAGE = Path(__file__).parent
INSTALLED = (PACKAGE / "front").is_dir()
FRONT = PACKAGE / "front" if INSTALLED else PACKAGE.parent
CONF = FRONT / "conf"
TRAIN = FRONT / "train.py"
PRETRAINED = PACKAGE / "pretrained"  # trained models, each as a run directory: DATA/MODEL_PHASE
COMMAND = "gen-models train" if INSTALLED else "python train.py"


def how_to_install(extra: str) -> str:
    """What to do for an extra's packages."""
    if INSTALLED:
        return f"install gen-models with its extra [{extra}]"
    return f"pip install -e '.[{extra}]'"
