"""Not one SYN to an address that is not public, counted by the kernel."""

import json
import subprocess
import sys

import pytest

from lab.namespace import Isolation, available

ISOLATION = available()


@pytest.mark.skipif(ISOLATION is Isolation.NONE, reason="needs a network namespace")
def test_no_syn_to_a_reserved_address() -> None:
    command = [*ISOLATION.unshare, sys.executable, "-m", "tests.no_syn_run"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found["reserved"] >= 200
    assert (found["statuses"], found["connections"]) == (["reserved_address"], 0)
    # and the counter counts
    assert found["public_connections"] == len(found["public"])
    assert set(found["public"]) == {"unreachable"}
    assert set(found["without_routes"]) == {"local_error_smtp"}, "our network, not their server"
