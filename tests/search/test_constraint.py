import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from offramp.search import METRICS, Constraint


@pytest.mark.parametrize(
    "text, expected",
    [
        ("mean_macs <= 2.44e6", Constraint("mean_macs", 2.44e6)),
        (" accuracy>=0.65 ", Constraint("accuracy", 0.65, at_least=True)),
        ("params <= 2e5", Constraint("params", 200_000)),
        ("mean_macs <= 1234567", Constraint("mean_macs", 1_234_567)),
        ("accuracy >= 0.65432178", Constraint("accuracy", 0.65432178, at_least=True)),
    ],
)
def test_parse(text: str, expected: Constraint) -> None:
    assert Constraint.parse(text) == expected
    assert Constraint.parse(str(expected)) == expected


@pytest.mark.parametrize(
    "text, complaint",
    [
        ("mean_macs < 2", "not of the form"),
        ("mean_macs == 2", "not of the form"),
        ("2 <= mean_macs", "names the metric '2'"),
        ("speed <= 2", "names the metric 'speed'; known are error, accuracy, mean_macs"),
        ("params <= many", "needs a finite number"),
        ("params <= inf", "needs a finite number"),
        ("params <= nan", "needs a finite number"),
        ("", "not of the form"),
    ],
)
def test_what_does_not_parse_is_named(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Constraint.parse(text)


NUMBERS = st.floats(-1e9, 1e9, width=32)


@given(st.sampled_from(sorted(METRICS)), NUMBERS, NUMBERS, st.booleans())
def test_violation_is_positive_exactly_when_the_bound_is_broken(metric, bound, value, at_least) -> None:
    violation = Constraint(metric, bound, at_least).violation({metric: value})
    assert math.isfinite(violation)
    assert (violation <= 0) == (value >= bound if at_least else value <= bound)


def test_violation_is_relative_to_the_bound() -> None:
    assert Constraint.parse("params <= 200").violation({"params": 300}) == pytest.approx(0.5)
    assert Constraint.parse("accuracy >= 0.5").violation({"accuracy": 0.25}) == pytest.approx(0.5)
    assert Constraint.parse("params <= 0").violation({"params": 3}) == 3


def test_violation_names_what_was_not_measured() -> None:
    with pytest.raises(ValueError, match="params <= 3 needs params; measured are error"):
        Constraint.parse("params <= 3").violation({"error": 1.0})
