"""Turn a captured terminal screen (text with escapes, on standard input) into an SVG: svg.py TITLE OUT

Needs the package rich from PyPI. The picture names no font from elsewhere.
"""

import io
import re
import sys

from rich.console import Console
from rich.text import Text

title, out = sys.argv[1:]
screen = sys.stdin.read().rstrip("\n")
lines = [Text.from_ansi(line) for line in screen.split("\n")]
width = max((line.cell_len for line in lines), default=1)
console = Console(record=True, width=max(width, 60), file=io.StringIO(), force_terminal=True, color_system="truecolor")
for line in lines:
    console.print(line, no_wrap=True, crop=False)
svg = console.export_svg(title=title)
svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.S)
svg = svg.replace("Fira Code", "DejaVu Sans Mono")
with open(out, "w", encoding="utf-8") as f:
    f.write(svg)
