"""Writes the stub of the extension's snapshots, `python/millstream/_core_snapshot.pyi`.

The classes say by themselves what they have: their documentation, and the types of their
properties (`__annotations__`) with theirs. The numbers are listed once, in
`rust/core/src/snapshot.rs`. After a change build the extension and run `make stubs`. A test fails
if the stub is not what it would write.
"""

from __future__ import annotations

import inspect
import textwrap
from pathlib import Path

import millstream
from millstream import _core

STUB = Path(millstream.__file__).parent / "_core_snapshot.pyi"
CLASSES: tuple[type, ...] = (
    _core.Snapshot,
    _core.OpSnapshot,
    _core.NodeSnapshot,
    _core.Times,
    _core.Finding,
)


def snapshot_stub() -> str:
    """The stub, formatted."""
    return "\n".join([_HEAD, *map(_class, CLASSES)])


def _class(found: type) -> str:
    properties = [
        f"@property\ndef {name}(self) -> {kind}:{_body(inspect.getdoc(vars(found)[name]))}"
        for name, kind in found.__annotations__.items()
    ]
    about = _documented(inspect.getdoc(found) or "")
    body = textwrap.indent("\n".join([about, "", *properties]), "    ", lambda line: line != "\n")
    return f"@final\nclass {found.__name__}:\n{body}\n"


def _body(text: str | None) -> str:
    """What follows the colon of a function without statements."""
    return " ..." if text is None else "\n" + textwrap.indent(_documented(text), "    ")


def _documented(text: str) -> str:
    end = "\n" if "\n" in text else ""
    return f'"""{text}{end}"""'


_HEAD = '''\
# Made by tools/core_stub.py of the extension: change `snapshot.rs` in rust/core or rust/py, build
# it, and run `make stubs`.
"""What the outside may know of a run."""

from typing import Literal, final

from millstream._core import _Bottleneck
'''


if __name__ == "__main__":
    STUB.write_text(snapshot_stub())
