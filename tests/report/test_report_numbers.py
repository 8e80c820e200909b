import pytest

from offramp.report._numbers import Spread, change, interval, percent, points, si, signed_points, size, threshold


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    "value, text",
    [
        (0, "0"),
        (960, "960"),
        (999.4, "999"),
        (999.6, "1.00 k"),
        (9.996e3, "10.0 k"),
        (61_234, "61.2 k"),
        (999_700, "1.00 M"),
        (2.44e6, "2.44 M"),
        (123e6, "123 M"),
        (5e9, "5.00 G"),
        (1e12, "1.00 T"),
    ],
)
def test_si_has_three_digits_and_the_right_letter(value: float, text: str) -> None:
    assert plain(si(value)) == text


def test_percent_and_points() -> None:
    assert plain(percent(0.97214, 2)) == "97.21 %"
    assert percent(None) == "–"
    assert plain(points(-0.01)) == "1.0 point"
    assert plain(signed_points(-0.0019)) == "−0.19 points"
    assert plain(change(-0.553)) == "−55 %"
    assert plain(change(0.034)) == "+3 %"
    assert plain(change(-0.001)) == plain(change(-0.0)) == "+0 %"
    assert plain(signed_points(-1e-9)) == plain(signed_points(1e-9)) == "0.00 points"


def test_bytes() -> None:
    assert [plain(size(v)) for v in (512, 46_700)] == ["512 B", "46.7 kB"]


@pytest.mark.parametrize(
    "value, text",
    [
        (0.51239, "0.5124"),
        (-0.25, "−0.25"),
        ("inf", "∞: nobody leaves"),
        ("-inf", "−∞: everybody leaves"),
        (None, "none: the rest leaves"),
    ],
)
def test_threshold(value: float | str | None, text: str) -> None:
    assert threshold(value) == text


def test_spread_is_the_sample_deviation() -> None:
    spread = Spread.of([0.95, 0.97])
    assert spread.mean == pytest.approx(0.96)
    assert spread.sd == pytest.approx(0.0141421, rel=1e-5)
    assert plain(spread.percent()) == "96.00 ± 1.41 %"
    assert plain(Spread.of([40_000, 42_000]).si()) == "41.0 ± 1.4 k"
    assert plain(Spread.of([40_000]).si()) == "40.0 k"


def test_interval_is_wilsons() -> None:
    low, high = interval(0.5, 100)
    assert (low, high) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    assert interval(1.0, 10)[1] == pytest.approx(1.0)
