"""The SDK's standard tests, against a running sandbox."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from api_sandbox import HustleScenario, Scenario, serve_in_thread
from singer_sdk.testing import SuiteConfig, get_tap_test_class
from tap_hustle.tap import TapHustle

if TYPE_CHECKING:
    from collections.abc import Iterator

# The SDK makes its test class, and with it a tap, when the module is imported: the sandbox has to be there by then.
_AT_END = ExitStack()
_SANDBOX = _AT_END.enter_context(
    serve_in_thread(Scenario(hustle=HustleScenario(requests_per_second=None, organizations=8, leads=300)))
)


@pytest.fixture(scope="module", autouse=True)
def as_before() -> Iterator[None]:
    """A tap takes the signals for itself; the tests want them back, and the sandbox to end."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    _AT_END.close()


TestTapHustle = get_tap_test_class(
    TapHustle,
    config={
        "client_id": _SANDBOX.hustle.client_id,
        "client_secret": _SANDBOX.hustle.client_secret,
        "api_url": _SANDBOX.hustle.api_url,
        "requests_per_second": 5000,
    },
    suite_config=SuiteConfig(max_records_limit=400),
)
