"""A PostgreSQL server for tests: on a port of this machine, ended by its id."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: Where Debian keeps what is not on the path.
FOLDERS = (*os.environ.get("PATH", "").split(os.pathsep), "/usr/lib/postgresql/15/bin")


def program(name: str) -> str | None:
    """Returns where a program of PostgreSQL is, if it is there."""
    return shutil.which(name, path=os.pathsep.join(FOLDERS))


@contextmanager
def running() -> Iterator[str]:
    """Makes a cluster and starts it; gives its address."""
    # It refuses to be root, who else may not look into pytest's folders.
    how = {"user": "nobody", "group": "nogroup", "extra_groups": []} if os.getuid() == 0 else {}
    with tempfile.TemporaryDirectory() as folder:
        if how:
            shutil.chown(folder, "nobody")
        data = f"{folder}/data"
        make = [program("initdb"), "-D", data, "-A", "trust", "-U", "postgres", "--no-sync"]
        make += ["-E", "UTF8", "--locale=C"]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd=folder, **how)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        command = [program("postgres"), "-D", data, "-p", str(port), "-k", folder]
        command += ["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
        command += ["-c", "lc_messages=C", "-c", "timezone=UTC"]
        with served(command, cwd=folder, **how):
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"


@contextmanager
def served(command: list[str], cwd: str, **how) -> Iterator[None]:
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(cwd), **how)
    said = []
    try:
        for line in server.stderr:
            said.append(line)
            if "ready to accept connections" in line:
                break
        else:
            raise RuntimeError("PostgreSQL did not start: " + "".join(said))
        reader = threading.Thread(target=server.stderr.read, daemon=True)
        reader.start()
        yield
        server.send_signal(signal.SIGINT)
        reader.join()
    finally:
        if server.poll() is None:
            server.send_signal(signal.SIGQUIT)
        server.wait()
        server.stderr.close()
