import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from api_sandbox import RunningSandbox, serve_in_thread
from api_sandbox.__main__ import main
from api_sandbox.server import listen
from click.testing import CliRunner

COMMAND = (sys.executable, "-m", "api_sandbox", "serve")


@contextmanager
def command(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen([*COMMAND, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_tells_where_it_is_and_stops_cleanly(tmp_path: Path, number: signal.Signals) -> None:
    scenario, ready = tmp_path / "scenario.yml", tmp_path / "ready.json"
    scenario.write_text("hustle: {leads: 12, client_secret: s3cret}")
    with command("--port", "0", "--scenario", str(scenario), "--ready-file", str(ready)) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        where = json.loads(process.stdout.readline())
        assert json.loads(ready.read_text()) == where
        assert where["hustle"]["api_url"].startswith("http://127.0.0.1:")
        assert where["hustle"]["auth_url"] == where["hustle"]["api_url"] + "/oauth/token"
        assert where["hustle"]["client_secret"] == "s3cret"
        assert where["harkster"]["page_url"] == where["control_url"].replace("_sandbox", "harkster/")
        assert where["harkster"].keys() == {"api_url", "access_token", "channel", "page_url"}
        with requests.Session() as session:
            truth = session.get(f"{where['control_url']}/truth", timeout=60).json()
            assert truth["leads"]["count"] == 12
            process.send_signal(number)
            assert process.wait(60) == 0
        assert process.stdout.read() == ""
        assert process.stderr.read() == ""


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::", "example.org"])  # noqa: S104
def test_other_hosts_than_loopback_are_refused(host: str) -> None:
    result = CliRunner().invoke(main, ["serve", "--host", host])
    assert result.exit_code == 1
    assert "not an address of loopback" in result.output


def test_a_wrong_scenario_and_a_taken_port_are_told_without_a_traceback(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yml"
    scenario.write_text("colour: red")
    result = CliRunner().invoke(main, ["serve", "--scenario", str(scenario)])
    assert (result.exit_code, "unknown field `colour`" in result.output) == (1, True)
    with listen("127.0.0.1", 0) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(main, ["serve", "--port", port])
    assert result.exit_code == 1
    assert "Address already in use" in result.output


def test_the_thread_is_gone_after_the_context(
    log_in: Callable[[RunningSandbox], requests.Session],
) -> None:
    before = set(threading.enumerate())
    with serve_in_thread() as sandbox:
        session = log_in(sandbox)
        session.get(f"{sandbox.hustle.api_url}/leads", timeout=60)
    assert set(threading.enumerate()) <= before
    assert len(sandbox.report().served["leads"]) == 100
    assert sandbox.truth.count("leads") == 100
    with pytest.raises(requests.ConnectionError):
        session.get(f"{sandbox.hustle.api_url}/leads", timeout=60)


def test_a_sandbox_ends_in_the_middle_of_an_answer(capfd: pytest.CaptureFixture[str]) -> None:
    with serve_in_thread() as sandbox:
        port = int(sandbox.control_url.split(":")[2].split("/")[0])
        faults = [{"kind": "hold"}]
        requests.post(f"{sandbox.control_url}/faults", json=faults, timeout=60)
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(b"POST /hustle/v3/oauth/token HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
            sandbox.faults.wait_until_held()
    assert capfd.readouterr().err == ""


def test_answers_leave_without_delay() -> None:
    """asyncio sets TCP_NODELAY only on sockets that name their protocol."""
    with listen("localhost", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP
