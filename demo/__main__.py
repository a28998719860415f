"""Show the whole pipeline: a sandbox of the vendors' APIs, Meltano, rows in a real PostgreSQL, and posts.

Everything runs on this machine, listens on loopback alone, and is gone afterwards, but for a page to look at.
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
from demo.models import create_views, verdict
from demo.postgres import embedded_postgres
from demo.posts import compare_posts, post_table
from demo.processes import DemoError
from demo.sandbox import HUBSTAFF_UNREAD, running_sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from demo.meltano import MeltanoRun
    from demo.postgres import Postgres
    from demo.sandbox import Sandbox

SCENARIO = Path(__file__).with_name("scenario.yml")
RUNS = PROJECT / ".demo"
PAGE = RUNS / "harkster.html"
PIPELINE = (
    "run",
    "hustle-to-postgres",
    "verify:hustle",
    "hubstaff-to-postgres",
    "verify:hubstaff",
    "hubstaff-to-harkster",
)
# What is uploaded between the two runs: the posts of its weeks are to change, and no others.
LATE = {"count": 6, "days": 1}
COMPARISONS = {"Hustle": compare_hustle, "Hubstaff": compare_hubstaff}
INTERRUPTED = 130


def demonstrate(scenario: Path, directory: Path, page: Path) -> None:
    """Load and post the sandbox's data twice, and count what has arrived each time.

    Args:
        scenario: What the sandbox simulates.
        directory: Where Meltano and the programs keep their files.
        page: Where to show what was posted.

    Raises:
        DemoError: If something did not work, or the counts differ from the truth.
    """
    with ExitStack() as services:
        with step("Start a sandbox of the APIs of Hustle, Hubstaff and Harkster"):
            sandbox = services.enter_context(running_sandbox(scenario, directory))
        with step("Start PostgreSQL"):
            warehouse = services.enter_context(embedded_postgres())
        meltano = Meltano(directory, {**sandbox.variables, "SANDBOX_POSTGRES_URL": warehouse.sqlalchemy_url})
        with step(f"meltano {' '.join(PIPELINE)}"):
            run = meltano.run(*PIPELINE).check()
        check(run, warehouse, sandbox, is_told=True)
        if sandbox.posts():
            with step("Upload some of the last day's work to Hubstaff late"):
                sandbox.ask("hubstaff/late", LATE)
        with step(f"meltano {' '.join(PIPELINE)} again"):
            run = meltano.run(*PIPELINE).check()
        rows = check(run, warehouse, sandbox)
        weeks = compare_posts(warehouse, sandbox)
        views = create_views(warehouse)
        found = verdict(warehouse)
        page.parent.mkdir(exist_ok=True)
        page.write_bytes(sandbox.page())
    print(f"\n{post_table(weeks)}\n")
    print(f"All {rows:,} records are in the warehouse exactly once, after the second run as after the first.")
    print(f"Views on them, from models/hubstaff: {', '.join(views)}. What reconcile says: {found}.")
    print(f"All {len(weeks)} weeks of hours are in Harkster, each posted once, and updated where hours were added.")
    print(f"What its followers see: {page.absolute().as_uri()}")


def check(run: MeltanoRun, warehouse: Postgres, sandbox: Sandbox, *, is_told: bool = False) -> int:
    """Count what a run has loaded and posted.

    Args:
        run: The run.
        warehouse: Where it loaded to.
        sandbox: Where it read and posted.
        is_told: Whether to print the counts even where nothing is wrong with them.

    Returns:
        The records that are in the warehouse.

    Raises:
        DemoError: If they differ from the truth.
    """
    loaded = {vendor: compare(warehouse, sandbox) for vendor, compare in COMPARISONS.items()}
    weeks = compare_posts(warehouse, sandbox)
    differing = [
        f"{count.stream} of {vendor}" for vendor, counts in loaded.items() for count in counts if not count.agrees
    ]
    if any(not week.agrees for week in weeks):
        differing.append("posts of Harkster")
    if differing or is_told:
        print("".join(f"\n{table(vendor, counts)}\n" for vendor, counts in loaded.items()))
        print(f"  Hubstaff's {HUBSTAFF_UNREAD} is not read: no document describes it.\n")
        print(f"{post_table(weeks)}\n")
    if differing:
        raise DemoError(f"What arrived and the APIs differ in {', '.join(differing)}; Meltano's log is {run.log}")
    return sum(count.truth for counts in loaded.values() for count in counts)


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
        print(f"\nThe logs of this run stay in {directory}", file=sys.stderr)
        raise
    finally:
        if not failed:
            shutil.rmtree(directory)


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    """Unwind on SIGTERM and SIGHUP as on any other exit, so that everything is cleaned up."""
    sys.exit(128 + number)


def main() -> None:
    """Run the demo and end with an exit code that says how it went."""
    parser = argparse.ArgumentParser(
        prog="python -m demo", description="Load the sandbox's data into PostgreSQL, and post hours to Harkster."
    )
    parser.add_argument("--scenario", type=Path, default=SCENARIO, help="what the sandbox simulates")
    parser.add_argument("--page", type=Path, default=PAGE, help="where to show the posts (default: %(default)s)")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, _terminate)
    try:
        with run_directory() as directory:
            demonstrate(options.scenario, directory, options.page)
    except DemoError as error:
        sys.exit(f"\n{error}")
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
