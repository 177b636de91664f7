"""How the manual is built."""

import tomllib
from pathlib import Path

_project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]

project = "VLCP"
version = release = _project["version"]
extensions = ["myst_parser"]
html_theme = "furo"
html_title = f"VLCP {release}"
myst_heading_anchors = 3
exclude_patterns = ["_build"]
