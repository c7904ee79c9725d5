"""The extension of Sphinx that makes the site: its pages, its API, its twins in Markdown.

Owns what Sphinx is told. What pages hold is in `docs_pages`, which names the API has in `docs_api`.
Needs no network: links to other projects follow the patterns of their addresses.
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import docs_api
import docs_pages
from docutils.nodes import Element, Node, document, reference  # type: ignore[import-untyped]
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import ExtensionMetadata


def setup(app: Sphinx) -> ExtensionMetadata:
    """Tells Sphinx what to call."""
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("source-read", _read)
    # Before napoleon reads the sections.
    app.connect("autodoc-process-docstring", _link_names, priority=400)
    app.connect("doctree-read", _link_builtins)
    app.connect("missing-reference", _resolve)
    app.connect("html-page-context", _point_to_twin)
    app.connect("build-finished", _write_twins)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def external(name: str) -> str | None:
    """The address of a name of another project; `None` if it is of none that we know."""
    if name in BUILTINS:
        return f"https://docs.python.org/3/library/{BUILTINS[name]}.html#{name}"
    for pattern, address in ADDRESSES.items():
        if re.fullmatch(pattern, name):
            return address.format(name)
    return None


def _read(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = docs_pages.source_of(name)


def _link_names(
    app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]
) -> None:
    """Names of ours in single quotes become links; all else in quotes, and code, stays as it is."""
    own = _arguments(value)

    def link(found: re.Match[str]) -> str:
        words = " ".join(found[1].split())
        target = docs_api.full_names().get(words)
        is_own = words in own or words in BUILTINS or target == name
        role = f"``{words}``" if target is None or is_own else f":py:obj:`{words} <{target}>`"
        return role + ("\\ " if found[2] else "")

    # An ending such as a plural may follow; reStructuredText wants it apart.
    text = re.sub(r"(?<![`:\w])`([^`]+)`(?!`)(?=(\w?))", link, "\n".join(lines))
    lines[:] = text.split("\n")


def _arguments(value: Any) -> set[str]:
    try:
        return set(inspect.signature(value).parameters)
    except (TypeError, ValueError):
        return set()


def _link_builtins(app: Sphinx, doctree: document) -> None:
    """Python's own types, before names of ours that are alike: `str` is no `Expr.str`."""
    for node in list(doctree.findall(pending_xref)):
        address = external(node["reftarget"]) if node["reftarget"] in BUILTINS else None
        if address and node.get("refdomain") == "py":
            node.replace_self(reference("", "", *node.children, internal=False, refuri=address))


def _resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, words: Element) -> Node | None:
    """Links of types and names: to our own pages, to other projects, or to nothing at all.

    What is left over stays missing, which is an error in a strict build.
    """
    if node.get("refdomain") != "py":
        return None
    name = node["reftarget"].removeprefix("ms.")
    ours = docs_api.full_names().get(name)
    if ours and ours != node["reftarget"]:
        domain = env.domains.python_domain
        kind, page = node["reftype"], node["refdoc"]
        return domain.resolve_xref(env, page, app.builder, kind, ours, node, words)
    head, dot, rest = name.partition(".")
    address = external(ABBREVIATIONS.get(head, head) + dot + rest)
    if address:
        return reference("", "", words, internal=False, refuri=address)
    # Types stand in signatures as the source has them. Many are short names for several types, or
    # what an inner function returns: they have no page, and none is missed.
    is_type = node["reftype"] == "class" or name.startswith("typing.")
    return words if is_type or name.startswith(WITHOUT_PAGE) else None


def _point_to_twin(
    app: Sphinx, name: str, template: str, context: dict[str, Any], doctree: Any
) -> None:
    """Each page says where its Markdown is."""
    if doctree is not None:
        twin = f"{name.rpartition('/')[2]}.md"
        link = f'<link rel="alternate" type="text/markdown" href="{twin}">'
        context["metatags"] = context.get("metatags", "") + link


def _write_twins(app: Sphinx, error: Exception | None) -> None:
    """A page's Markdown beside its HTML, and the list of all."""
    if error is not None or app.builder.format != "html":
        return
    for name in docs_pages.names():
        path = Path(app.outdir) / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(docs_pages.twin_of(name))
    (Path(app.outdir) / "llms.txt").write_text(docs_pages.llms_txt())


#: How modules are called in the source.
ABBREVIATIONS = {
    "pa": "pyarrow",
    "pa_csv": "pyarrow.csv",
    "pa_json": "pyarrow.json",
    "np": "numpy",
    "npt": "numpy.typing",
}
#: Where the names of other projects are described, by what they look like.
ADDRESSES = {
    r"pyarrow(\.\w+)+": "https://arrow.apache.org/docs/python/generated/{}.html",
    r"numpy\.\w+": "https://numpy.org/doc/stable/reference/generated/{}.html",
    r"pandas\.\w+": "https://pandas.pydata.org/docs/reference/api/{}.html",
    r"fractions\.\w+": "https://docs.python.org/3/library/fractions.html#{}",
    r"collections\.abc\.\w+": "https://docs.python.org/3/library/collections.abc.html#{}",
    r"typing\.\w+": "https://docs.python.org/3/library/typing.html#{}",
    r"os\.\w+": "https://docs.python.org/3/library/os.html#{}",
}
_TYPES = ("bool", "bytes", "dict", "float", "frozenset", "int", "list", "object", "set", "str")
_ERRORS = ("AttributeError", "Exception", "ImportError", "KeyError", "OSError", "TypeError")
#: The page of Python's library on which a name is.
BUILTINS = {
    **dict.fromkeys((*_TYPES, "tuple"), "stdtypes"),
    **dict.fromkeys(("BaseException", *_ERRORS, "ValueError"), "exceptions"),
    **dict.fromkeys(("None",), "constants"),
    **dict.fromkeys(("property", "type"), "functions"),
}
#: What the extension in Rust raises is described where it is raised.
WITHOUT_PAGE = ("millstream._core.",)
