"""What runs a launcher in tests leaves no process behind, in whatever session it was started."""

import sys

import pytest

from .commands import processes_of, run_to_its_end


START = "import subprocess, sys; subprocess.Popen(['sleep', '600'], start_new_session=True)"


@pytest.mark.parametrize(
    ("then", "message"),
    [("; import time; time.sleep(600)", "ended with a timeout"), ("; sys.exit(3)", "ended with 3")],
)
def test_a_process_in_a_session_of_its_own_is_ended(tmp_path, then, message):
    log = tmp_path / "log"
    with pytest.raises(AssertionError, match=message):
        run_to_its_end([sys.executable, "-c", START + then], log, timeout=2)
    assert processes_of(str(log)) == []


def test_a_command_that_ends_well_ends_whole(tmp_path):
    run_to_its_end([sys.executable, "-c", "print('done')"], tmp_path / "log", timeout=60)
    assert (tmp_path / "log").read_text() == "done\n"
