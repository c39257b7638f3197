import pytest

from sockact.probe.spec import DEFAULT, KINDS, Spec, SpecError, parse_spec


def test_a_specification_says_kind_clients_and_rate():
    expected = Spec("one-shot:4@50", "one-shot", 4, 50.0, {})

    assert expected == parse_spec("one-shot:4@50")


def test_the_rate_max_means_saturated():
    assert parse_spec("persistent:2@max").rate is None


def test_options_replace_the_defaults_of_the_kind():
    spec = parse_spec("stream:1@max,interval=0.05")

    assert spec.options == {"chunks": 20, "interval": 0.05}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_had_without_options(kind):
    assert parse_spec(f"{kind}:1@max").options == KINDS[kind]


@pytest.mark.parametrize("text", DEFAULT)
def test_the_default_loads_are_valid(text):
    assert parse_spec(text).label == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("one-shot", "is not KIND:CLIENTS@RATE"),
        ("one-shot:4", "is not KIND:CLIENTS@RATE"),
        ("one-shot:4@-1", "is not KIND:CLIENTS@RATE"),
        ("one-shot:4@50,", "is not KIND:CLIENTS@RATE"),
        ("keepalive:4@50", "no kind 'keepalive', there are one-shot"),
        ("one-shot:4@1.2.3", "'1.2.3' is not a number"),
        ("one-shot:4@50,pause=1", "one-shot has no option pause"),
        ("one-shot:0@50", "must be more than 0"),
        ("one-shot:1@0", "must be more than 0"),
        ("upload:1@max,chunks=0", "chunks must be at least 1"),
        # The client waits for each response: it would fall behind whatever the service does.
        ("slow:1@0.6,seconds=2", "a request takes 2 s, so the rate is at most 0.5"),
        ("pause:1@5", "a request takes 0.4 s, so the rate is at most 2.5"),
    ],
)
def test_a_specification_which_cannot_be_kept_is_refused_with_the_reason(text, reason):
    with pytest.raises(SpecError, match=reason):
        parse_spec(text)
