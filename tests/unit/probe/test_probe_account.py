import pytest

from sockact.probe.account import LISTED_FAILURES, Account, Ledger, Stall, percentile
from sockact.probe.outcome import Outcome
from sockact.probe.record import Identity


@pytest.fixture
def ledger():
    return Ledger({"a": Account(), "b": Account()}, prompt=frozenset({"a"}))


def enter(ledger, load, due, now, outcome):
    ledger.begin(load, due)
    ledger.end(load, due, now, outcome, "as seen")


@pytest.mark.parametrize("outcome", Outcome)
def test_each_outcome_is_counted_as_itself_and_nothing_else(ledger, outcome):
    enter(ledger, "a", 0.0, 1.0, outcome)

    assert ledger.accounts["a"].outcomes == {outcome: 1}
    assert ledger.accounts["b"].requests == 0


@pytest.mark.parametrize("outcome", Outcome)
def test_everything_but_ok_and_closed_is_a_loss(ledger, outcome):
    enter(ledger, "a", 0.0, 1.0, outcome)

    assert ledger.accounts["a"].lost == (outcome not in ("ok", "closed"))
    assert len(ledger.failures) == ledger.accounts["a"].lost


def test_latency_counts_from_when_the_request_was_due(ledger):
    enter(ledger, "a", 1.0, 3.5, Outcome.OK)

    assert list(ledger.accounts["a"].latencies) == [2.5]


def test_a_loss_has_no_latency(ledger):
    enter(ledger, "a", 1.0, 1.1, Outcome.REFUSED)

    assert not ledger.accounts["a"].latencies


def test_only_the_first_failures_are_listed_and_all_are_counted(ledger):
    for at in range(LISTED_FAILURES + 5):
        enter(ledger, "a", at, at, Outcome.EMPTY)

    assert [failure.at for failure in ledger.failures] == list(range(LISTED_FAILURES))
    assert ledger.accounts["a"].lost == LISTED_FAILURES + 5


def test_a_window_has_the_longest_stall_in_it(ledger):
    enter(ledger, "a", 1.0, 3.0, Outcome.OK)
    ledger.cut(4.0)
    enter(ledger, "a", 5.0, 6.0, Outcome.OK)
    enter(ledger, "b", 5.0, 9.0, Outcome.OK)
    ledger.cut(9.0)

    assert [window.stall for window in ledger.windows] == [2.0, 1.0]
    assert ledger.stall.longest == 2.0


def test_a_stall_across_the_end_of_a_window_counts_in_full_in_the_next_one(ledger):
    ledger.begin("a", 1.0)
    ledger.cut(2.0)
    ledger.end("a", 1.0, 4.0, Outcome.OK)
    ledger.cut(5.0)

    assert [window.stall for window in ledger.windows] == [1.0, 3.0]


def test_the_worst_of_a_window_is_that_of_one_load():
    ledger = Ledger({"a": Account(), "b": Account()}, prompt=frozenset({"a", "b"}))
    ledger.begin("a", 0.0)
    for due in (0.0, 1.0, 2.0):
        enter(ledger, "b", due, due + 1.0, Outcome.OK)
    ledger.end("a", 0.0, 3.0, Outcome.OK)
    ledger.cut(3.0)

    assert [(window.stall, window.worst) for window in ledger.windows] == [(1.0, 3.0)]


def test_who_answered_is_kept_with_first_and_last_time(ledger):
    for at, version in ((1.0, "1"), (2.0, "2"), (3.0, "1")):
        ledger.saw(Identity(version, 42), at)

    seen = {one.version: (when.first, when.last, when.responses) for one, when in ledger.seen.items()}
    assert seen == {"1": (1.0, 3.0, 2), "2": (2.0, 2.0, 1)}


def test_a_service_which_does_not_say_who_it_is_leaves_no_trace(ledger):
    ledger.saw(Identity(None, None), 1.0)

    assert not ledger.seen


def test_a_stall_lasts_from_the_first_unserved_due_to_the_next_ok():
    stall = Stall()
    for due, now in ((0.0, 0.1), (1.0, 4.0), (5.0, 5.1)):
        stall.begin(due)
        stall.end(now, ok=True)

    assert stall.longest == pytest.approx(3.0)


def test_time_in_which_nothing_was_due_is_no_stall():
    stall = Stall()
    for due in (0.0, 100.0):
        stall.begin(due)
        stall.end(due + 0.5, ok=True)

    assert stall.longest == pytest.approx(0.5)


def test_an_answer_to_another_request_ends_a_stall():
    stall = Stall()
    stall.begin(0.0)
    stall.begin(0.0)
    stall.end(1.0, ok=True)
    stall.end(1.8, ok=True)

    assert stall.longest == pytest.approx(1.0)


def test_a_loss_does_not_end_a_stall():
    stall = Stall()
    for due in (0.0, 1.0, 2.0):
        stall.begin(due)
        stall.end(due, ok=due == 2.0)

    assert stall.longest == pytest.approx(2.0)


def test_a_stall_which_lasts_until_the_end_is_measured(ledger):
    ledger.begin("a", 1.0)
    ledger.end("a", 1.0, 1.0, Outcome.REFUSED)
    ledger.close(6.0)

    assert (ledger.accounts["a"].stall.longest, ledger.stall.longest) == (5.0, 5.0)


def test_a_request_which_takes_its_time_is_no_stall_of_the_whole(ledger):
    enter(ledger, "b", 0.0, 2.0, Outcome.OK)

    assert (ledger.accounts["b"].stall.longest, ledger.stall.longest) == (2.0, 0.0)


@pytest.mark.parametrize(
    ("values", "percent", "expected"),
    [
        ([], 50, None),
        ([7.0], 50, 7.0),
        ([7.0], 99, 7.0),
        ([1.0, 2.0], 50, 1.0),
        ([1.0, 2.0, 3.0], 50, 2.0),
        ([1.0, 2.0, 3.0], 100, 3.0),
        (range(1, 101), 99, 99),
        (range(1, 1001), 99, 990),
    ],
)
def test_a_percentile_is_a_value_which_occurred(values, percent, expected):
    assert percentile(values, percent) == expected
