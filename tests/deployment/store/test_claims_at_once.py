"""Many owners claim at once: each task goes to one of them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

CLAIMER = """
import json, sys, time
from deployment.store import open_store
from hhray.settings import load_settings
store = open_store(load_settings(overrides=json.loads(sys.argv[1])))
print("ready", flush=True)
sys.stdin.readline()
while claims := store.claim_oldest(sys.argv[2], 100, 3):
    for claim in claims:
        print(claim.task.task_id, claim.fence, flush=True)
    time.sleep(0.002)  # the lock of SQLite is not fair: an owner that never pauses would take all
store.close()
"""


@pytest.mark.parametrize("database", ["sqlite", "postgres"], indirect=True)
def test_two_processes_claim_200_tasks_and_none_twice(create, overrides):
    ids = {create().task_id for _ in range(200)}
    claimers = [
        subprocess.Popen(
            [sys.executable, "-c", CLAIMER, json.dumps(overrides), owner],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for owner in ("a", "b")
    ]
    for claimer in claimers:
        assert claimer.stdout.readline() == "ready\n"
    for claimer in claimers:
        claimer.stdin.write("go\n")
        claimer.stdin.flush()
    shares = [claimer.communicate(timeout=30)[0].split("\n")[:-1] for claimer in claimers]
    assert [claimer.returncode for claimer in claimers] == [0, 0]
    assert len(shares[0]) + len(shares[1]) == 200
    assert set(shares[0] + shares[1]) == {f"{task_id} 1" for task_id in ids}
    assert all(shares)


def test_threads_that_claim_the_same_ids_share_them_out(store, create):
    ids = [create().task_id for _ in range(60)]
    taken = []

    def work(owner):
        for start in range(0, 60, 4):
            taken.extend(claim.task.task_id for claim in store.claim(ids[start : start + 4], owner, 100))

    threads = [threading.Thread(target=work, args=(f"e{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(ids)
