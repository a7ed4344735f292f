"""The fault bench lets code of the project raise wherever the package calls it."""

from benchmarks.chaos.project import ELSEWHERE, PLACES
from tests.test_bulkheads import BULKHEADS


def test_every_bulkhead_is_a_place_of_the_bench_or_has_a_reason_not_to_be():
    assert {*PLACES, *ELSEWHERE} == set(BULKHEADS)
    assert not set(PLACES) & set(ELSEWHERE)
