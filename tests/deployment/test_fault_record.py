"""Two faults of one rank or GPU within the window are a verdict; the last engine works on all the same."""

from __future__ import annotations

from deployment.fault_record import FaultRecord, Suspect, others_can_work


def test_two_strikes_of_one_rank_are_a_verdict_and_two_of_different_ranks_are_not() -> None:
    record = FaultRecord(2, 3600.0)
    record.strike(0.0, "node", 1, "GPU-b", "rank 1 died")
    record.strike(10.0, "node", 0, "GPU-a", "rank 0 died")
    assert record.suspects(20.0) == []
    record.strike(30.0, "node", 1, "GPU-b", "Xid 79")
    assert record.suspects(40.0) == [Suspect("gpu", "GPU-b", 2, "Xid 79"), Suspect("rank", "1", 2, "Xid 79")]
    assert record.quarantined(40.0)
    assert record.report(40.0)[0] == {"kind": "gpu", "name": "GPU-b", "strikes": 2, "last": "Xid 79"}


def test_strikes_outside_the_window_are_forgotten() -> None:
    record = FaultRecord(2, 100.0)
    record.strike(0.0, "node", 1, "", "died")
    record.strike(90.0, "node", 1, "", "died")
    assert record.quarantined(99.0)
    assert not record.quarantined(101.0)
    record.strike(150.0, "node", 1, "", "died")
    assert record.quarantined(151.0)


def test_faults_nobody_can_place_speak_against_the_node_at_twice_as_many() -> None:
    record = FaultRecord(2, 3600.0)
    for at in range(3):
        record.strike(float(at), "node-7", None, "", "steps did not end within 120 s")
    assert not record.quarantined(4.0)
    record.strike(4.0, "node-7", None, "", "steps did not end within 120 s")
    assert [(one.kind, one.name, one.strikes) for one in record.suspects(5.0)] == [("node", "node-7", 4)]


def test_with_a_limit_of_zero_nothing_is_ever_avoided() -> None:
    record = FaultRecord(0, 3600.0)
    for at in range(9):
        record.strike(float(at), "node", 0, "GPU-a", "died")
    assert not record.quarantined(9.0)


def test_an_engine_is_avoided_only_where_another_one_works() -> None:
    assert not others_can_work([("me", "quarantined")], "me")
    assert not others_can_work([("me", "ready"), ("it", "starting"), ("that", "quarantined")], "me")
    assert others_can_work([("me", "quarantined"), ("it", "busy")], "me")
