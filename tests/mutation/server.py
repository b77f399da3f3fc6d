"""Runs pytest in processes forked from one that has imported NumPy and pytest already: most of a mutant's time is that.

``python server.py serve SOCKET TEST...`` waits for clients; ``python server.py ask SOCKET`` is one, and ends as pytest
did in a fresh fork of the server.
"""

import socket
import sys
from pathlib import Path

SECONDS = 40  # of processor time, several times what the slowest selection takes: what needs more goes round in circles


def ask(path):
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        answer = connection.makefile().read()
    status, _, output = answer.partition("\n")
    print(output)
    sys.exit(int(status))


def serve(path, tests):
    sys.path.insert(0, "tests/support")
    import pytest

    import plain

    plain.load()  # all that the package itself imports; the package is imported anew in every fork
    arguments = ["-x", "-q", "--tb=no", "--no-header", "--noconftest", "-p", "no:cacheprovider", *tests]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        while True:
            connection, _ = listener.accept()
            with connection:
                answer = in_a_fork(lambda: pytest.main(arguments))
                connection.sendall(answer.encode(errors="replace"))


def in_a_fork(function):
    """Exit status and what was printed."""
    import os
    import signal
    import tempfile

    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)  # its signal ends the fork
            os._exit(_status(function))
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            return "1\ntimeout" if os.WTERMSIG(status) == signal.SIGVTALRM else "1\ncrashed"
        output.seek(0)
        return f"{os.WEXITSTATUS(status)}\n{output.read().decode(errors='replace')}"


def _status(function):
    try:
        status = int(function())
    except BaseException as error:
        print(repr(error))
        status = 1
    sys.stdout.flush()
    return status


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        Path(sys.argv[2]).unlink(missing_ok=True)
        serve(sys.argv[2], sys.argv[3:])
    else:
        ask(sys.argv[2])
