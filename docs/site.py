"""Hooks of the site of docs/: notebooks become pages, and it links to its repository."""

import base64
import json
import re
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

DOWNLOAD = '<p><a href="../{name}" download>Download this notebook</a></p>\n\n'


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Link to where this checkout was cloned from, if that is on the web."""
    command = ["git", "config", "--get", "remote.origin.url"]
    where = Path(config.config_file_path).parent
    remote = subprocess.run(command, cwd=where, capture_output=True, text=True).stdout.strip()
    if not config.repo_url and (address := web_address(remote)):
        config.repo_url, config.repo_name = address, urlsplit(address).path.strip("/")
    return config


def web_address(remote: str) -> str | None:
    """The page of a git remote, without a user or a token; None of a folder or another server."""
    parts = urlsplit(re.sub(r"^git@([^:]+):", r"https://\1/", remote))
    if parts.scheme != "https" or not parts.hostname:
        return None
    return f"https://{parts.hostname}{parts.path.removesuffix('.git')}"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each notebook, next to the notebook itself."""
    for file in list(files):
        if file.src_uri.endswith(".ipynb"):
            notebook = json.loads(file.content_string)
            page = f"{file.src_uri.removesuffix('.ipynb')}.md"
            text = as_markdown(notebook["cells"], name=Path(file.src_uri).name)
            files.append(File.generated(config, page, content=text))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Lead links to a notebook to its page, and show the tables inside of `<details>`."""
    markdown = markdown.replace("<details>", '<details markdown="1">')
    return re.sub(r"(\]\([^):]+)\.ipynb\)", r"\1.md)", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Let a name in code break after its parts (`max_`, `epochs=`), so that tables fit a phone.

    Lines of a block stay whole: it scrolls.
    """
    return re.sub(r"<pre\b.*?</pre>|<code>([^<]*)</code>", _breakable, html, flags=re.DOTALL)


def _breakable(code: re.Match[str]) -> str:
    if code[1] is None:  # a block
        return code[0]
    parts = re.sub(r"([_./=,])(?=[\w\[])", r"\1<wbr>", code[1])
    return f"<code>{parts}</code>"


def as_markdown(cells: list[dict[str, Any]], *, name: str) -> str:
    """A notebook's cells, and below each of code what it printed and drew."""
    parts = []
    for cell in cells:
        source = "".join(cell["source"])
        parts.append(f"```python\n{source}\n```" if cell["cell_type"] == "code" else source)
        printed = ""
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                picture = base64.b64encode(base64.b64decode("".join(data["image/png"]))).decode()
                parts.append(f"![Output of the cell above](data:image/png;base64,{picture})")
            else:
                printed += "".join(data.get("text/plain", output.get("text", [])))
        if printed:
            printed = re.sub(r"\x1b\[[\d;]*m", "", printed).rstrip()
            parts.append(f"```text\n{printed}\n```")
    title, *rest = parts
    return "\n\n".join([title, DOWNLOAD.format(name=name), *rest])
