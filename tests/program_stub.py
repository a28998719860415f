"""Stands in for a console script: hands what it was called with to a server, and ends as the run there does.

It is no module: `tests/programs.py` writes it into a folder, with a link to it for each program. Its folder has the
server's socket. It imports as little as it can, as it costs more than the run's fork.
"""

from __future__ import annotations

import _socket
import marshal
import os
import signal
import sys


def main() -> None:
    """Have the program run, with the standard streams of this process."""
    server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    server.connect(os.path.join(os.path.dirname(sys.argv[0]), "socket"))  # noqa: PTH118, PTH120
    streams = b"".join(stream.to_bytes(4, sys.byteorder) for stream in (0, 1, 2))
    call = marshal.dumps((sys.argv, os.getcwd(), dict(os.environ)))  # noqa: PTH109
    server.sendmsg([len(call).to_bytes(4, "big")], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
    server.sendall(call)
    for stream in (0, 1, 2):
        os.close(stream)  # or nobody would see that the run closes them
    run = int.from_bytes(server.recv(4), "big")
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, _frame: os.kill(run, number))
    code = server.recv(1)
    os._exit(code[0] if code else 128 + signal.SIGKILL)


main()
