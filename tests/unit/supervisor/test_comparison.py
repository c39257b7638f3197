"""The comparison of a canary with the others; on made-up load from seeds, so it is the same each time.

More seeds: `python -m tests.support.canary_load`.
"""

from __future__ import annotations

import math

import pytest

from sockact.supervisor import comparison
from sockact.supervisor.comparison import ENOUGH, FALSE_ALARM, Comparison, Look, Tally, chance, tail
from tests.support.canary_load import BAD, BOUNDS, GOOD, LOOKS, Load


def look(others: tuple[int, int], canary: tuple[int, int]) -> Look:
    """Return a look at so many responses, of which so many are 5xx."""
    return Look(*(Tally(begun=n, answered=n, failed=bad, times=(n,)) for n, bad in (others, canary)))


def compared(*looks: Look) -> Comparison:
    comparison = Comparison(BOUNDS, LOOKS)
    for each in looks:
        comparison.add(each)
    return comparison


@pytest.mark.parametrize("name", BAD)
def test_a_worse_release_is_refused_20_times_of_20(name: str) -> None:
    refused = sum(bool(BAD[name].verdict(seed)) for seed in range(20))

    assert refused == 20


@pytest.mark.parametrize("name", GOOD)
def test_a_good_release_is_never_refused_in_50_under_noise(name: str) -> None:
    refused = [found for seed in range(50) if (found := GOOD[name].verdict(seed))]

    assert refused == []


def test_a_refusal_has_all_numbers() -> None:
    comparison = compared(*[look((1000, 1), (250, 20))] * 3)

    assert comparison.worse(last=False) == (
        "the canary is worse in 5xx: 8.0 % 5xx, 0.0 % exceptions, p95 0.95 ms, of 750 responses; "
        "the others: 0.1 % 5xx, 0.0 % exceptions, p95 0.95 ms, of 3,000 responses"
    )


def test_exceptions_count_without_a_5xx() -> None:
    raising = Tally(begun=250, answered=250, raised=20, times=(250,))
    comparison = compared(*[Look(look((1000, 0), (0, 0)).others, raising)] * 3)

    assert comparison.worse(last=False).startswith("the canary is worse in exceptions: 0.0 % 5xx, 8.0 %")


def test_slow_responses_are_told_by_their_p95() -> None:
    assert "is worse in p95: " in Load(slower=3.0).verdict(1)


def test_a_slow_first_look_is_a_cold_cache() -> None:
    slow = Tally(begun=100, answered=100, times=(*[0] * (len(BOUNDS) - 1), 100))
    fine = look((300, 0), (100, 0))

    assert compared(Look(fine.others, slow), *[fine] * 9).worse(last=True) == ""
    assert compared(*[Look(fine.others, slow)] * 10).worse(last=True)


def test_trouble_in_one_look_is_a_hiccup() -> None:
    trouble, fine = look((300, 0), (100, 90)), look((300, 0), (100, 0))

    assert compared(trouble, *[fine] * 9).worse(last=True) == ""
    assert compared(trouble, trouble, *[fine] * 8).worse(last=True)


def test_trouble_of_all_at_the_same_time_says_nothing_though_the_canary_has_more_load_then() -> None:
    outage, fine = look((100, 50), (300, 150)), look((900, 0), (100, 0))

    assert compared(*[outage, fine] * 6).worse(last=True) == ""
    shuffled = look((100, 0), (300, 150))
    assert compared(*[shuffled, fine] * 6).worse(last=True)


def test_a_difference_that_is_certain_but_tiny_is_none() -> None:
    assert compared(*[look((100_000, 100), (100_000, 500))] * 6).worse(last=True) == ""


def test_a_canary_that_answers_nothing_is_refused_at_the_end() -> None:
    hanging = Tally(begun=40)
    comparison = compared(*[Look(look((100, 0), (0, 0)).others, hanging)] * 2)

    assert comparison.worse(last=False) == ""
    assert comparison.worse(last=True) == "the canary has answered none of 80 requests"
    idle = compared(Look(Tally(), hanging))
    assert idle.worse(last=True) == ""  # the others have answered nothing either: WebSockets, perhaps


def test_few_requests_say_little_but_may_refuse() -> None:
    few = compared(look((30, 0), (10, 5)), look((30, 0), (10, 5)))

    assert not few.is_telling
    assert few.worse(last=True)
    assert compared(look((ENOUGH, 0), (ENOUGH, 0))).is_telling
    assert not compared().is_telling
    assert compared().worse(last=True) == ""


def test_workers_without_statistics_are_not_worse() -> None:
    assert compared(*[Look(Tally(), Tally())] * LOOKS).worse(last=True) == ""


def test_a_tail_is_the_sum_of_its_terms() -> None:
    exact = sum(math.comb(50, k) * 0.2**k * 0.8 ** (50 - k) for k in range(20, 51))

    assert tail(20, 50, 0.2) == pytest.approx(exact)
    assert tail(5, 5, 0.5) == pytest.approx(0.5**5)
    assert tail(3, 5, 0.0) == 0.0
    assert tail(3, 5, 1.0) == 1.0


def test_a_tail_of_many_terms_is_bounded_by_a_few(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = tail(600, 1000, 0.5)
    monkeypatch.setattr(comparison, "MOST_TERMS", 3)

    assert exact < tail(600, 1000, 0.5) < 1.1 * exact
    assert tail(2**51 + 10**6, 2**52, 0.5) <= 1.0


def test_what_is_not_beyond_the_mean_is_chance() -> None:
    assert chance([]) == 1.0
    assert chance([(0.25, 0, 0)]) == 1.0
    assert chance([(0.25, 5, 20)]) == 1.0
    assert chance([(0.25, 20, 5)]) < FALSE_ALARM / 100


def test_chance_is_no_smaller_than_fishers_test_says() -> None:
    """The bound must not promise more than the exact test, of one look with 100 and 300 responses."""
    ours, theirs = 12, 8
    ways = math.comb(400, 20)
    fisher = sum(math.comb(100, k) * math.comb(300, 20 - k) for k in range(ours, 21)) / ways

    assert fisher <= chance([(0.25, ours, theirs)]) < 3 * fisher
