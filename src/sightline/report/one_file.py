"""One file of HTML that needs nothing else: the plotting library, the page's code and the data are in it.

The data is a compressed, encoded block that no HTML parser looks into. The content security policy lets run
exactly the two scripts that are meant, by their hashes, and lets the page reach nothing outside of itself.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import importlib.util
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from sightline.errors import ConfigurationError

_ASSETS = Path(__file__).parent / "assets"
_SCRIPTS = (
    "basics.js", "data.js", "smoothing.js", "figures.js", "tables.js", "overview.js", "metrics.js",
    "stages.js", "processes.js", "sessions.js", "distributions.js", "samples.js", "problems.js", "hosts.js",
    "facts.js", "live.js", "main.js",
)  # fmt: skip
_STYLE_ID = re.compile(r'getElementById\("([0-9a-f]{64})"\)')


def page(names: Sequence[str], data: bytes | None) -> bytes:
    """The page.

    Args:
        names: of the runs, for the title.
        data: what :func:`sightline.report.gather` has packed; None: the page asks the server it came from.

    Raises:
        ConfigurationError: the plotting library is not installed.
    """
    library, library_hash, style_ids = _library()
    code = "\n".join((_ASSETS / name).read_text() for name in _SCRIPTS)
    code = f'"use strict";\n(() => {{\n{code}\n}})();'
    style = (_ASSETS / "style.css").read_text()
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {_hash(code)} {library_hash}",
            f"style-src-elem {_hash(style)}",
            "style-src-attr 'unsafe-inline'",  # what the plotting library sets on the shapes that it draws
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            *(["connect-src 'self'"] if data is None else []),
        ]
    )
    parts = {
        "POLICY": policy,
        "TITLE": html.escape(", ".join(names)[:200]),
        "STYLE": style,
        # The library finds its own style sheets there already, and adds none: style.css has what it needs.
        "STYLE_IDS": "".join(f'<i id="{each}" class="no-inline-styles" hidden></i>' for each in style_ids),
        "LIBRARY": library,
        "DATA": "" if data is None else base64.b64encode(data).decode(),
        "CODE": code,
    }
    template = (_ASSETS / "page.html").read_text()
    pieces = re.split(r"\{\{(\w+)\}\}", template)
    whole = "".join(parts[piece] if at % 2 else piece for at, piece in enumerate(pieces))
    return whole.encode(errors="replace")


def require_library() -> None:
    """Makes sure that there is something to draw with, before anything long begins.

    Raises:
        ConfigurationError: the plotting library is not installed.
    """
    _library()


@cache
def _library() -> tuple[str, str, list[str]]:
    """Plotly's JavaScript, packed; its hash; and the ids by which it knows its style sheets."""
    found = importlib.util.find_spec("plotly")
    places = (found.submodule_search_locations or ()) if found is not None else ()
    for place in places:
        path = Path(place) / "package_data" / "plotly.min.js"
        if path.exists():
            text = path.read_text()
            packed = base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()
            return packed, _hash(text), ["plotly.js-style-global", *sorted(set(_STYLE_ID.findall(text)))]
    raise ConfigurationError(
        "a report draws its curves with plotly, which is not installed: pip install 'sightline[report]'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
