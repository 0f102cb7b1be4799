"""Print the set-up commands of README.md: the first code block below the heading "Install"."""

import re
from pathlib import Path

text = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
section = text.split("## Install", 1)[1]
block = re.search(r"```(?:bash)?\n(.*?)```", section, re.DOTALL)
assert block is not None
for line in block[1].splitlines():
    command = line.partition(" #")[0].strip()
    if command:
        print(command)
