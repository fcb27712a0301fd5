"""Links of a page that work in a checkout, as links that work in the site.

The site has docs/ at its top, and beside it pages from elsewhere (READMEs of services) under their own paths.
Whatever else a page links to is only in a checkout: there the link becomes its text.
"""

import posixpath
import re
from collections.abc import Callable

_LINK = re.compile(r"\[([^\]]*)\]\(([^)#:\s]+)(#[^)]*)?\)")
_DOCS = "docs/"


def site_links(text: str, path: str, in_site: Callable[[str], bool]) -> str:
    """The page's text with its links changed.

    `path`: of the page in the checkout, as `docs/serve.md`. `in_site`: whether the site has the file of this path.
    """

    def changed(link: re.Match[str]) -> str:
        label, target, anchor = link[1], link[2], link[3] or ""
        file = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if not in_site(file):
            return label
        start = posixpath.dirname(page_path(path)) or "."
        return f"[{label}]({posixpath.relpath(page_path(file), start)}{anchor})"

    return _LINK.sub(changed, text)


def page_path(path: str) -> str:
    """Where the site has a file of the checkout."""
    return path.removeprefix(_DOCS)
