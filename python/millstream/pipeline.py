"""A plan and the settings that it runs with: what a dataset is, without what can be done with it.

Owns how a run is started and which one was the last.
"""

from __future__ import annotations

import copy
from typing import Any

import pyarrow as pa

from millstream.context import DataContext
from millstream.execution.execution import Execution, SplitOptions
from millstream.feed.progress import Start
from millstream.observe.watch import Watch
from millstream.plan.logical import LogicalPlan


class Pipeline:
    """A plan that can run. `Dataset` is its public face.

    Args:
        plan: What runs.
        context: How.
    """

    def __init__(self, plan: LogicalPlan, context: DataContext) -> None:
        self._plan = plan
        self._context = context
        self._schema: pa.Schema | None = None
        self._watch: Watch | None = None
        self._name: str | None = None

    def __getstate__(self) -> dict[str, Any]:
        # A dataset is a recipe: what watches its last run stays here.
        return {**self.__dict__, "_watch": None}

    def __deepcopy__(self, memo: dict[int, Any]) -> Pipeline:
        # It never changes, so that there is nothing to keep apart.
        return copy.copy(self)

    def _execute(self, plan: LogicalPlan | None = None, start: Start | None = None) -> Execution:
        whole = None if start is None else SplitOptions(consumers=1)
        execution = Execution(plan or self._plan, self._context, whole, start)
        self._watch = execution.watch
        return execution
