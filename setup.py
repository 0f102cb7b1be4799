"""Lets `train.py` and `conf/` travel in a wheel, as gen_models/front; the rest: pyproject.toml."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithFront(build_py):
    """An editable install uses them where they are."""

    def run(self) -> None:
        """Copy them next to the modules."""
        super().run()
        if not self.editable_mode:
            front = Path(self.build_lib, "gen_models", "front")
            self.mkpath(str(front))
            self.copy_file("train.py", str(front))
            self.copy_tree("conf", str(front / "conf"))


setup(cmdclass={"build_py": BuildWithFront})
