"""The check that an optional package is there, at the call that needs it.

Owns its message, which says how to install the package.
"""

from __future__ import annotations

from importlib.util import find_spec

from millstream.errors import MissingPackageError


def require_package(module: str, user: str, package: str, extra: str) -> None:
    """Checks that a package can be imported, and does not import it.

    Args:
        module: What is imported: `"av"`.
        user: What needs it: `"read_video"`.
        package: What people call it: `"PyAV"`.
        extra: The extra of millstream that installs it: `"video"`.

    Raises:
        MissingPackageError: It is not installed.
    """
    if find_spec(module) is None:
        raise MissingPackageError(f"{user} needs {package}: pip install 'millstream[{extra}]'")
