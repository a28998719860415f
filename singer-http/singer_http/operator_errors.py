"""Ends a program with a sentence for its operator, in place of a traceback."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

import click
from singer_sdk.exceptions import ConfigValidationError, MapExpressionError, StreamMapConfigError

from singer_http.http.errors import ApiError, ConfigurationError
from singer_http.messages import map_failure

if TYPE_CHECKING:
    from collections.abc import Iterator

logging.getLogger("singer_sdk.mapper").setLevel(logging.WARNING)  # it tells filters, which may name people

_FRAMES = 6  # calls that are named of a defect


@contextlib.contextmanager
def exit_on_operator_error(logger: logging.Logger) -> Iterator[None]:
    """End the process with a sentence on stderr, which holds no value that it is not meant to show."""
    try:
        _check_log_level(logger.name)
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # now, as what fails at the end of the process cannot be told in a sentence
        sentences = []
    except ConfigValidationError as error:
        sentences = error.errors
    except ApiError as error:
        sentences = [str(error)]
    except (StreamMapConfigError, MapExpressionError) as error:
        is_expression = isinstance(error, MapExpressionError)
        reason = f"an expression fails ({map_failure(error)})." if is_expression else error
        sentences = [f"stream_maps is not valid: {reason}"]
    except click.ClickException:
        raise
    except BrokenPipeError:  # of --about or --discover; a run has its own word for it
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python would complain again at its exit
        sentences = ["The reader of stdout went away before the end."]
    except Exception as error:  # noqa: BLE001 - its own text, and its traceback's, may hold people's data or a token
        frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
        way = " > ".join(f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno}" for frame in frames)
        sentences = [f"This is a defect, please report it: {type(error).__name__} at {way}"]
    if sentences:
        logging.raiseExceptions = False  # where the log cannot be written to, the exception at hand would be shown
        for sentence in sentences:
            logger.error("%s", sentence)
        sys.exit(1)


def _check_log_level(plugin: str) -> None:
    for name in (f"{plugin.upper().replace('-', '_')}_LOGLEVEL", "LOGLEVEL"):
        level = os.environ.get(name, "").upper()
        if level and not isinstance(logging.getLevelName(level), int):
            raise ConfigurationError(f"{name} (environment) is not valid: use DEBUG, INFO, WARNING or ERROR.")
