"""A DAG for each tap: its shards run side by side, then what they sent is verified. docs/scale.md says how to use it.

Nothing stays on a worker, so any executor will do: Meltano keeps STATE in its database, and the tap's reports travel as
XCom, which Airflow clears before each try.
"""

from __future__ import annotations

import json
import os
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import completeness
from airflow.providers.standard.hooks.subprocess import SubprocessHook, SubprocessResult
from airflow.sdk import DAG, BaseOperator, task
from airflow.sdk.exceptions import AirflowException, AirflowFailException
from typing_extensions import override

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol

SHARDS = completeness.list_shards(int(os.environ.get("SHARD_COUNT", "8")))
PROJECT = os.environ.get("MELTANO_PROJECT_ROOT") or str(Path(__file__).resolve().parents[2])
POOL = "shards"  # has as many slots as shards may run at the same time
RETRY_DELAY = timedelta(seconds=int(os.environ.get("SHARD_RETRY_SECONDS", "360")))
"""Above the five minutes for which Meltano refuses a shard whose run was killed, as that may still be alive."""


class Meltano(SubprocessHook):
    """Runs Meltano with a system directory of its own: runs that share one overwrite the STATE of one another there."""

    def run(self, *arguments: str, own: str, **variables: str) -> SubprocessResult:
        """Run a command, and write what it says to the task's log."""
        path = f"{PROJECT}/.venv/bin:{os.environ.get('PATH', os.defpath)}"
        env = {**os.environ, "PATH": path, "NO_COLOR": "1", "MELTANO_SYS_DIR_ROOT": own, **variables}
        return self.run_command(["meltano", *arguments], env=env, cwd=PROJECT)


class ShardOperator(BaseOperator):
    """Runs the tap of a vendor for one shard, and hands on its report, however the run ends."""

    def __init__(self, *, vendor: str, shard: str, **rest: Any) -> None:
        super().__init__(**rest)
        self.vendor = vendor
        self.shard = shard
        self.meltano = Meltano()

    @override
    def execute(self, context: Context) -> None:
        """Run; not again where another try would read no more."""
        if fault := completeness.find_lost_state(os.environ):
            raise AirflowFailException(fault)
        prefix, suffix = f"TAP_{self.vendor.upper()}", f"shard-{self.shard.replace('/', '-of-')}"
        with TemporaryDirectory() as own:
            report = Path(own, "report.json")
            exit_code, _ = self.meltano.run(
                *("run", f"--state-id-suffix={suffix}", f"tap-{self.vendor}", "target-postgres"),
                own=own,
                **{f"{prefix}_SHARD": self.shard, f"{prefix}_REPORT_PATH": str(report)},
            )
            outcome = completeness.outcome(exit_code, report)
        context["ti"].xcom_push("outcome", outcome)
        if exit_code:
            error = AirflowException if completeness.is_worth_a_retry(outcome) else AirflowFailException
            raise error(f"Meltano ended with exit code {exit_code}.")

    @override
    def on_kill(self) -> None:
        """Let the run end in good order."""
        self.meltano.send_sigterm()


def verify(vendor: str, ti: RuntimeTaskInstanceProtocol) -> None:
    """Fail, and say what is missing, unless every shard read everything and the warehouse has it."""
    found = ti.xcom_pull("load", key="outcome", map_indexes=range(len(SHARDS)))
    outcomes: dict[str, completeness.Outcome | None] = dict(zip(SHARDS, found, strict=True))
    faults = list(completeness.find_faults(outcomes))
    for shard, outcome in outcomes.items():
        with TemporaryDirectory() as own:
            report = Path(own, "report.json")
            if outcome and outcome["report"]:
                report.write_text(json.dumps(outcome["report"]))
                variable = {f"TAP_{vendor.upper()}_REPORT_PATH": str(report)}
                exit_code, last_line = Meltano().run("invoke", f"verify:{vendor}", own=own, **variable)
                if exit_code:
                    faults.append(f"Shard {shard}: {last_line}")
    if faults:
        raise AirflowFailException("\n".join(faults))


for _vendor in ("hustle", "hubstaff"):
    with DAG(
        dag_id=f"{_vendor}_shards",
        schedule="@daily",
        start_date=datetime(2026, 1, 1, tzinfo=timezone.utc),
        max_active_runs=1,
    ):
        load = ShardOperator.partial(
            task_id="load",
            vendor=_vendor,
            pool=POOL,
            retries=2,
            retry_delay=RETRY_DELAY,
            map_index_template="{{ task.shard }}",
        ).expand(shard=SHARDS)
        # Whatever became of the shards: Airflow can show a task as success that was killed.
        load >> task(trigger_rule="all_done")(verify)(_vendor)
