# Made by tools/core_stub.py of the extension: change `snapshot.rs` in rust/core or rust/py, build
# it, and run `make stubs`.
"""What the outside may know of a run."""

from typing import Literal, final

from millstream._core import _Bottleneck

@final
class Snapshot:
    """A run at a moment: all that progress, statistics and reports read."""

    @property
    def bottleneck(self) -> Finding | None:
        """What the run waited for most so far; None before any time has passed."""
    @property
    def ops(self) -> list[OpSnapshot]:
        """The operators, in the order of the flow."""
    @property
    def nodes(self) -> list[NodeSnapshot]:
        """The nodes, by number."""
    @property
    def cpu_times(self) -> Times:
        """The time of all CPUs, free ones too, in CPU-seconds."""
    @property
    def gpu_times(self) -> Times:
        """The time of all GPUs, free ones too, in GPU-seconds."""
    @property
    def consumer_rows(self) -> list[int]:
        """Rows that each of several consumers was given, or is meant to get; else nothing."""
    @property
    def rows_dropped(self) -> int:
        """Rows that none of several consumers got, or that one had not taken when it went."""
    @property
    def epochs_committed(self) -> int:
        """Epochs that were committed."""
    @property
    def output_bytes(self) -> int:
        """Bytes that wait for or are with the consumer."""
    @property
    def blocks(self) -> int:
        """Blocks that exist."""
    @property
    def elapsed_us(self) -> int:
        """How long the run has gone on, up to the last event."""
    @property
    def driver_delay_us(self) -> int:
        """For how long news waited for the driver."""
    @property
    def stale_events(self) -> int:
        """Events of dead attempts and unknown things, which changed nothing."""
    @property
    def overshoots(self) -> int:
        """Launches and resumptions let past the memory limit, since nothing else could run."""
    @property
    def heap_overshoots(self) -> int:
        """Workers started with less memory than they are thought to need, for the same reason."""
    @property
    def bytes_set_aside(self) -> int:
        """Bytes ever set aside at the barrier of an exchange, beyond what the stores hold."""
    @property
    def output_rows(self) -> int:
        """Rows given to the consumer."""
    @property
    def output_blocks(self) -> int:
        """Blocks given to the consumer."""

@final
class OpSnapshot:
    """One operator at a moment."""

    @property
    def name(self) -> str:
        """Its name in the plan."""
    @property
    def state(self) -> Literal["running", "waiting", "done"]:
        """Whether something runs, or nothing at present, or nothing ever again."""
    @property
    def reason(self) -> str | None:
        """Why it launches nothing at present: one of `REASONS`; None if it just could."""
    @property
    def details(self) -> dict[str, int | str]:
        """The numbers that belong to the reason, by name."""
    @property
    def times(self) -> Times:
        """The time of its workers, in worker-seconds: of its tasks, or of its actors."""
    @property
    def held_us(self) -> dict[str, int]:
        """For how long it launched nothing, by the name of the reason, such as `"input_empty"`."""
    @property
    def constraints_us(self) -> dict[str, int]:
        """For how long it was what kept the run from being faster, by what it lacked."""
    @property
    def tasks_running(self) -> int:
        """Tasks that run."""
    @property
    def tasks_paused(self) -> int:
        """Tasks that wait for room to hand over a block."""
    @property
    def actors_starting(self) -> int:
        """Actors that are loading."""
    @property
    def actors_ready(self) -> int:
        """Actors that take tasks."""
    @property
    def queued_blocks(self) -> int:
        """Blocks that wait for it."""
    @property
    def queued_rows(self) -> int:
        """Rows that wait for it."""
    @property
    def queued_bytes(self) -> int:
        """Bytes that wait for it."""
    @property
    def is_source(self) -> bool:
        """Whether it is a source."""
    @property
    def units_total(self) -> int:
        """Units of a source, as far as they are known."""
    @property
    def is_listing(self) -> bool:
        """Whether more units of it may be listed."""
    @property
    def heap_each_bytes(self) -> int:
        """What each of its tasks or actors is thought to need; 0 where memory is not watched."""
    @property
    def store_used(self) -> int:
        """Bytes of its output that exist now."""
    @property
    def store_reserved(self) -> int:
        """Bytes promised to its tasks now."""
    @property
    def nodes_quarantined(self) -> list[int]:
        """Nodes that get no work of it at present, since its workers kept failing there."""
    @property
    def quarantines(self) -> int:
        """How often it began to leave a node alone for that."""
    @property
    def tasks_finished(self) -> int:
        """Tasks that ended well."""
    @property
    def tasks_failed(self) -> int:
        """Attempts that ended badly."""
    @property
    def tasks_retried(self) -> int:
        """Attempts after the first."""
    @property
    def tasks_preempted(self) -> int:
        """Paused tasks that were cancelled to free their slots, and run again later."""
    @property
    def actors_started(self) -> int:
        """Actors started since the beginning."""
    @property
    def actors_lost(self) -> int:
        """Actors that died."""
    @property
    def actors_given_up(self) -> int:
        """Actors that were stopped, since they lived but failed their tasks."""
    @property
    def rows_in(self) -> int:
        """Rows that its finished tasks consumed."""
    @property
    def rows_out(self) -> int:
        """Rows that it put out."""
    @property
    def blocks_out(self) -> int:
        """Blocks that it put out."""
    @property
    def bytes_out(self) -> int:
        """Bytes that it put out."""
    @property
    def blocks_lost(self) -> int:
        """Blocks of its output that were lost."""
    @property
    def blocks_remade(self) -> int:
        """Blocks that it made in their place."""
    @property
    def units_done(self) -> int:
        """Units of a source that are done."""
    @property
    def busy_us(self) -> int:
        """Time that its finished tasks worked."""
    @property
    def heap_peak_bytes(self) -> int:
        """The largest resident memory of one of its workers."""
    @property
    def memory_kills(self) -> int:
        """Workers of it that were killed since a node's memory ran out."""

@final
class NodeSnapshot:
    """One node at a moment."""

    @property
    def node(self) -> int:
        """Its number."""
    @property
    def cpu_total(self) -> float:
        """Its CPUs."""
    @property
    def cpu_used(self) -> float:
        """CPUs that tasks and actors of the run hold."""
    @property
    def gpu_total(self) -> float:
        """Its GPUs."""
    @property
    def gpu_used(self) -> float:
        """GPUs that tasks and actors of the run hold."""
    @property
    def store_total(self) -> int:
        """Bytes that the run may hold there."""
    @property
    def store_used(self) -> int:
        """Bytes of blocks that lie there."""
    @property
    def store_aside(self) -> int:
        """Those of them set aside at the barrier of an exchange, beyond what the store holds."""
    @property
    def store_reserved(self) -> int:
        """Bytes promised there."""
    @property
    def store_peak(self) -> int:
        """The most bytes of blocks that ever lay there."""
    @property
    def heap_total(self) -> int:
        """Its memory beside the object store; 0: unknown, and not watched."""
    @property
    def heap_reserved(self) -> int:
        """What of that the run's tasks and actors hold."""

@final
class Times:
    """Time by what it went to, in seconds of workers, CPUs or GPUs.

    The parts add up to the whole. A free CPU or GPU waits for what holds the operators that could
    use it: of several, memory first, then the output, then input.
    """

    @property
    def compute_s(self) -> float:
        """Work, as finished tasks report it, and all that tasks under way do while not paused."""
    @property
    def input_wait_s(self) -> float:
        """There was nothing to work on."""
    @property
    def output_blocked_s(self) -> float:
        """A block could not be handed over, or the store was full of blocks for the consumer."""
    @property
    def memory_held_s(self) -> float:
        """There was work, but no room for what it would put out."""
    @property
    def starting_s(self) -> float:
        """A task was ordered and not at work yet, or through and not noticed yet."""
    @property
    def loading_s(self) -> float:
        """An actor started and loaded its state."""
    @property
    def transfer_s(self) -> float:
        """The same as starting, of tasks whose input lay on other nodes."""
    @property
    def idle_s(self) -> float:
        """No operator wanted the worker."""
    @property
    def total_s(self) -> float:
        """All of it."""

@final
class Finding:
    """What a run waited for most.

    Attributes:
        bottleneck: What.
        op: The operator that it is about; None where it is the driver or the consumer.
        share: For how much of the run's time, between 0 and 1.
    """

    @property
    def bottleneck(self) -> _Bottleneck: ...
    @property
    def op(self) -> int | None: ...
    @property
    def share(self) -> float: ...
