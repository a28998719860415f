"""BATCH messages: files of records, one after the other, each of one stream."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from singer_sdk.batch import Batcher, lazy_chunked_generator
from singer_sdk.helpers._batch import SDKBatchMessage

from singer_http.http.clock import Stopped
from singer_http.http.errors import OutputError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from singer_sdk.helpers._batch import BatchConfig


def batches(messages: Iterator[dict[str, Any]], batcher: Batcher, config: BatchConfig) -> Iterator[list[Any]]:
    """Write records to files.

    Args:
        messages: RECORD messages of one stream, or of all that stream maps make of it.
        batcher: Writes the files.
        config: How, and how many records at most.

    Yields:
        BATCH messages of all that was taken of the records so far: a STATE is good behind them.

    Raises:
        Stopped: A file cannot be written; its cause says so.
    """
    for some in lazy_chunked_generator(messages, config.batch_size):
        by_stream: defaultdict[str, list[Any]] = defaultdict(list)
        for message in some:
            by_stream[message["stream"]].append(message["record"])
        try:
            yield [
                SDKBatchMessage(stream=stream, encoding=config.encoding, manifest=manifest)
                for stream, records in by_stream.items()
                for manifest in batcher.get_batches(iter(records))
            ]
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Stopped from OutputError(f"A BATCH file cannot be written: {reason}. Mend that, and run again.")
