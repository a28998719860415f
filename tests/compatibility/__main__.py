"""Keep what the version of this checkout offers and stores, for the tests of later ones (`make keep`)."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.compatibility.offered import offered
from tests.compatibility.stored import dumped, first_runs, target

HERE = Path(__file__).parent


def main() -> None:
    """Write both files."""
    released = version("singer-http")
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(kinds)}" for name, kinds in offered().items())
    (HERE / f"{released}.json").write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
    with TemporaryDirectory() as folder, target(Path(folder)) as one:
        first_runs(one)
        (HERE / f"{released}.sql").write_text(dumped(Path(folder) / "ledger.db"), encoding="utf-8")
    sys.stdout.write(f"Kept what {released} offers and stores: {HERE.name}/{released}.json and .sql\n")


if __name__ == "__main__":
    main()
