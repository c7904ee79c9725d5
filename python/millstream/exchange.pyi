# Made by tools/stubs.py of exchange.py: change that, and run `make stubs`.
from collections.abc import Callable, Mapping
from typing import Any

from millstream.pipeline import Pipeline

class Exchange(Pipeline):
    def __arrow_c_stream__(self, requested_schema: Any = None) -> Any: ...
    def to_pandas(self, limit: int | None = None) -> Any: ...
    def write_sql(
        self,
        sql: str,
        connection_factory: Callable[[], Any],
        *,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None: ...
