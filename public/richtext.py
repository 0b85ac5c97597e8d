"""Operators' Markdown as HTML that can do nothing but be read."""

from functools import lru_cache

import nh3
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt

_MARKDOWN = MarkdownIt("commonmark", {"html": False, "breaks": True}).disable("image")
_TAGS = {"p", "br", "strong", "em", "a", "ul", "ol", "li", "code", "pre", "blockquote"}


@lru_cache(maxsize=1024)
def markdown(text: str) -> SafeString:
    """Return an operator's Markdown as HTML: raw HTML is shown as letters, and only plain tags are left."""
    if not text.strip():
        return SafeString("")
    html = nh3.clean(
        _MARKDOWN.render(text),
        tags=_TAGS,
        attributes={"*": set(), "a": {"href"}},  # "*": by default title and lang are let through
        url_schemes={"http", "https", "mailto", "tel"},
        link_rel="nofollow noopener noreferrer",
    )
    return mark_safe(html)  # noqa: S308  # nh3 has just cleaned it
