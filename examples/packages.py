"""Where the files of installed packages lie."""

import importlib.util
from pathlib import Path


def package_folder(name: str) -> Path:
    """The folder of a package, which is not imported: some need much for that, or fail.

    Raises:
        ImportError: It is not installed.
    """
    package = importlib.util.find_spec(name)
    if package is None or package.origin is None:
        raise ImportError(f"no package {name} is installed: pip install 'millstream[demo]'")
    return Path(package.origin).parent
