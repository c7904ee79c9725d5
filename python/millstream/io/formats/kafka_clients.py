"""The clients of Kafka: their settings, and what is told of their errors.

Owns which settings readers and writers decide themselves, and that nothing secret in the others is
shown: neither in errors, nor in logs, nor where a plan is printed.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from millstream.errors import ArgumentError, MillstreamError
from millstream.errors.checks import is_named, require
from millstream.errors.packages import require_package
from millstream.io.secrets import is_secret, without_secrets


def require_kafka(caller: str) -> None:
    """Checks that confluent-kafka is there.

    Raises:
        MissingPackageError: It is not.
    """
    require_package("confluent_kafka", caller, "confluent-kafka", "kafka")


def settings_of(name: str, config: Any) -> dict[str, Any]:
    """Settings of a client.

    Raises:
        ArgumentError: They are none.
    """
    # They may show a password.
    is_right = config is None or is_named(config)
    require(is_right, name, type(config), "a dict of settings of librdkafka by name, or None")
    return dict(config or {})


def addresses_of(servers: Any) -> str:
    """The addresses of brokers, as the client takes them.

    Raises:
        ArgumentError: They are none.
    """
    found = servers.split(",") if isinstance(servers, str) else servers
    is_right = isinstance(found, Sequence) and bool(found)
    is_right = is_right and all(isinstance(each, str) and ":" in each for each in found)
    require(is_right, "bootstrap_servers", servers, "'host:port', or a list of these")
    return ",".join(each.strip() for each in found)


@dataclass(frozen=True)
class Servers:
    """How brokers are reached.

    Args:
        addresses: Theirs, with commas between.
        config: Settings of the client, which may have passwords.
        wait_s: How long those that read wait for an answer.
    """

    addresses: str
    config: Mapping[str, Any] = field(repr=False)
    wait_s: float = 0
    _said: list[str] = field(default_factory=list, repr=False, compare=False)

    def consumer(self) -> Any:
        """A client that reads, to be closed.

        Raises:
            ArgumentError: There is no such setting, or it is not for the user to decide.
        """
        from confluent_kafka import Consumer

        return self._made(Consumer, "consumer_config", _CONSUMER, _CONSUMER_FIXED)

    def producer(self) -> Any:
        """A client that writes.

        Raises:
            ArgumentError: There is no such setting, or it is not for the user to decide.
        """
        from confluent_kafka import Producer

        defaults = {} if _LESS_SURE & set(self.config) else _PRODUCER
        return self._made(Producer, "producer_config", defaults, {})

    def last_error(self) -> str:
        """What the client last said had gone wrong; "" if nothing has."""
        return self._said[-1] if self._said else ""

    def told(self, error: Any) -> str:
        """What went wrong, without anything secret."""
        text = str(error.str()) if hasattr(error, "str") else str(error)
        for name, value in self.config.items():
            if value and isinstance(value, str) and _is_secret(name):
                text = text.replace(value, "***")
        return without_secrets(text)

    @contextmanager
    def telling(self, kind: type[MillstreamError], problem: str) -> Iterator[None]:
        """Turns what the client raises into one of our errors, without anything secret in it."""
        from confluent_kafka import KafkaException

        try:
            yield
        except KafkaException as error:
            said = self.told(error.args[0] if error.args else error)
            last = self.last_error()
            before = f"; before: {last}" if last and last != said else ""
            # Its cause would show the text that has been changed here.
            raise kind(f"{problem} at {self.addresses}: {said}{before}") from None

    def _made(
        self, make: Any, argument: str, defaults: Mapping[str, Any], fixed: Mapping[str, Any]
    ) -> Any:
        from confluent_kafka import KafkaException

        fixed = {"bootstrap.servers": self.addresses, **fixed}
        for name, value in fixed.items():
            if self.config.get(name, value) != value:
                raise ArgumentError(
                    f"{argument} must not have {name!r}, which is {value!r} here: leave it out"
                )
        config = {
            "error_cb": self._note,
            "log_level": _LOG_LEVEL,
            **defaults,
            **self.config,
            **fixed,
        }
        try:
            return make(config, logger=_LOG)
        except (KafkaException, TypeError, ValueError) as error:
            told = self.told(error.args[0] if error.args else error)
            raise ArgumentError(f"{argument} makes no sense: {told}") from None

    def _note(self, error: Any) -> None:
        from confluent_kafka import KafkaError

        # That all brokers are down says less than why one is.
        if not self._said or error.code() != KafkaError._ALL_BROKERS_DOWN:
            self._said[:] = [self.told(error)]


def _is_secret(name: str) -> bool:
    return is_secret(name) or name.endswith((".pem", ".config"))


_LOG = logging.getLogger("millstream.kafka")
# What goes wrong is told by errors; logs tell each attempt.
_LOG_LEVEL = 2
_CONSUMER = {
    "group.id": "millstream",
    # What is read ahead of what is used lies in memory that nobody else knows of.
    "queued.max.messages.kbytes": 16 << 10,
}
_CONSUMER_FIXED = {
    "enable.auto.commit": False,
    "enable.partition.eof": True,
    # A message that is gone is an error.
    "auto.offset.reset": "error",
}
#: What the client sends again appears once, and in order.
_PRODUCER = {"enable.idempotence": True}
#: Settings that do not go with it, or that say it.
_LESS_SURE = frozenset(
    (
        *("acks", "request.required.acks", "enable.idempotence"),
        *("max.in.flight", "max.in.flight.requests.per.connection"),
    )
)
