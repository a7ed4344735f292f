"""The fault bench can find a promise broken."""

import pytest

from benchmarks.chaos.verdict import Finding


def judged(states, received, alerts=(), unrecorded=None):
    finding = Finding("a fault")
    finding.judge(states, received, alerts, unrecorded=unrecorded or {})
    return finding


def test_a_message_sent_and_received_once_keeps_every_promise():
    finding = judged({"1": "sent", "2": "sent"}, ["2", "1"], [("a", "1"), ("b", "2")])
    assert finding.broken == []
    assert (finding.figures["rows"], finding.figures["lost"], finding.figures["repeats"]) == (2, 0, 0)


@pytest.mark.parametrize("state", ["pending", "sending", "failed", "expired"])
def test_a_row_that_was_not_sent_is_lost(state):
    assert judged({"1": state}, []).figures["lost"] == 1
    assert judged({"1": state}, []).broken


def test_a_row_marked_sent_but_never_received_is_lost():
    assert judged({"1": "sent"}, []).broken


def test_a_message_of_a_row_that_was_rolled_back_is_a_broken_promise():
    assert judged({"1": "sent"}, ["1", "2"]).broken


def test_a_row_may_be_repeated_as_often_as_workers_died_with_it_in_hand():
    assert judged({"1": "sent"}, ["1", "1", "1"], unrecorded={"1": 2}).broken == []
    assert judged({"1": "sent"}, ["1", "1", "1"], unrecorded={"1": 1}).broken


def test_a_message_noticed_twice_is_a_broken_promise():
    assert judged({"1": "sent"}, ["1"], [("a", "1"), ("b", "1")]).broken == []
    assert judged({"1": "sent"}, ["1"], [("a", "1"), ("a", "1")]).broken
