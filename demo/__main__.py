"""Show the whole pipeline: a sandbox of the vendors' APIs, Meltano, and rows in a real PostgreSQL.

Everything runs on this machine, listens on loopback alone, and is gone afterwards.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, NoReturn

from demo.comparison import compare_hubstaff, compare_hustle, table
from demo.meltano import PROJECT, Meltano
from demo.postgres import embedded_postgres
from demo.processes import DemoError
from demo.sandbox import HUBSTAFF_UNREAD, running_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

SCENARIO = Path(__file__).with_name("scenario.yml")
RUNS = PROJECT / ".demo"
PIPELINE = ("run", "tap-hustle", "target-postgres", "tap-hubstaff", "target-postgres")
COMPARISONS = {"Hustle": compare_hustle, "Hubstaff": compare_hubstaff}
INTERRUPTED = 130


def demonstrate(scenario: Path, directory: Path) -> None:
    """Load the sandbox's data twice, and count what has arrived each time.

    Args:
        scenario: What the sandbox simulates.
        directory: Where Meltano and the programs keep their files.

    Raises:
        DemoError: If something did not work, or the counts differ from the truth.
    """
    with ExitStack() as services:
        with step("Start a sandbox of the APIs of Hustle and Hubstaff"):
            sandbox = services.enter_context(running_sandbox(scenario, directory))
        with step("Start PostgreSQL"):
            warehouse = services.enter_context(embedded_postgres())
        variables = {**sandbox.variables, "SANDBOX_POSTGRES_URL": warehouse.sqlalchemy_url}
        meltano = Meltano(directory, variables)
        for again in ("", " again"):
            with step(f"meltano {' '.join(PIPELINE)}{again}"):
                run = meltano.run(*PIPELINE).check()
            loaded = {vendor: compare(warehouse, sandbox) for vendor, compare in COMPARISONS.items()}
            differing = [
                f"{count.stream} of {vendor}"
                for vendor, counts in loaded.items()
                for count in counts
                if not count.agrees
            ]
            if differing or not again:
                print("".join(f"\n{table(vendor, counts)}\n" for vendor, counts in loaded.items()))
                print(f"  Hubstaff's {HUBSTAFF_UNREAD} is not read: no document describes it.\n")
            if differing:
                raise DemoError(
                    f"The warehouse and the API differ in {', '.join(differing)}; Meltano's log is {run.log}"
                )
    rows = sum(count.truth for counts in loaded.values() for count in counts)
    print(f"\nAll {rows:,} records are in the warehouse exactly once, after the second run as after the first.")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Announce a step, and say how long it took when it is done."""
    begin = time.monotonic()
    print(f"{title} ...", end="", flush=True)
    try:
        yield
    except BaseException:
        print()
        raise
    print(f" {time.monotonic() - begin:.1f} s", flush=True)


@contextmanager
def run_directory() -> Iterator[Path]:
    """Provide a new directory, which stays only where something went wrong and its logs are wanted."""
    RUNS.mkdir(exist_ok=True)
    directory = Path(mkdtemp(prefix="run-", dir=RUNS))
    failed = False
    try:
        yield directory
    except Exception:
        failed = True
        raise
    finally:
        if not failed:
            shutil.rmtree(directory)


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    """Unwind on SIGTERM and SIGHUP as on any other exit, so that everything is cleaned up."""
    sys.exit(128 + number)


def main() -> None:
    """Run the demo and end with an exit code that says how it went."""
    parser = argparse.ArgumentParser(prog="python -m demo", description="Load the sandbox's data into PostgreSQL.")
    parser.add_argument("--scenario", type=Path, default=SCENARIO, help="what the sandbox simulates")
    scenario = parser.parse_args().scenario
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    try:
        with run_directory() as directory:
            demonstrate(scenario, directory)
    except DemoError as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
