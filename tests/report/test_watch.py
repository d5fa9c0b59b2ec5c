"""`trl-entropy watch` serves the page as the files are, to this machine only."""

import socket
import threading
import urllib.error
import urllib.request

import pytest

from trl_entropy.commands.watch import make_server

from .runs import make_run


@pytest.fixture
def served(tmp_path):
    server = make_server([str(tmp_path / "run")], 0, 7)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def get(server, path="/", host=None):
    request = urllib.request.Request(f"http://127.0.0.1:{server.server_port}{path}")
    if host:
        request.add_header("Host", host)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def test_the_page_follows_the_run(served, tmp_path):
    assert "no such file or folder" in get(served)
    folder = make_run(tmp_path / "run", "plain", 0, bare=True)
    first = get(served)
    assert '<meta http-equiv="refresh" content="7">' in first
    assert ", 60 steps" in first
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 61, "entropy": 0.1}\n')
    assert ", 61 steps" in get(served)


def test_only_this_machine_is_answered(served):
    assert served.server_address[0] == "127.0.0.1"
    for path, host in (("/", "example.org:80"), ("/settings.json", None)):
        with pytest.raises(urllib.error.HTTPError) as error:
            get(served, path, host)
        assert error.value.code == 404


def test_a_port_that_is_taken_and_a_bad_cadence(capsys):
    import argparse

    from trl_entropy.commands import watch

    parser = argparse.ArgumentParser()
    watch.register(parser.add_subparsers())
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        args = parser.parse_args(["watch", "x", "--port", str(taken.getsockname()[1])])
        assert args.run(args) == 2
    assert "--port" in capsys.readouterr().err
    with pytest.raises(ValueError, match="--every is 0"):
        make_server(["x"], 0, 0)
