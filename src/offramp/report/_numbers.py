"""Numbers as a reader sees them; a unit never wraps away from its number."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from statistics import fmean, stdev
from typing import NamedTuple

_GAP = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def percent(share: float | None, digits: int = 1) -> str:
    """A share in 0..1 in percent; a dash where there is none."""
    return "–" if share is None else f"{100 * share:.{digits}f}{_GAP}%".replace("-", _MINUS)


def change(share: float, digits: int = 0) -> str:
    """A relative change with its sign: −55 %, +3 %."""
    number = f"{round(100 * share, digits) + 0.0:+.{digits}f}{_GAP}%"  # + 0.0: no -0
    return number.replace("-", _MINUS)


def points(difference: float, digits: int = 1) -> str:
    """A difference of two shares in percentage points, without its sign."""
    number = f"{100 * abs(difference):.{digits}f}"
    return f"{number}{_GAP}{'point' if float(number) == 1 else 'points'}"


def si(value: float) -> str:
    """Three significant digits with k, M, G or T: 61.2 k, 2.44 M."""
    scale, letter = _scale(value)
    return f"{_three(value / scale)}{_GAP}{letter}" if letter else f"{value:.3g}"


def quantity(value: float, unit: str = "") -> str:
    """As `si`, with a unit after it."""
    return f"{si(value)}{_GAP}{unit}" if unit else si(value)


def less(ratio: float, word: str = "less") -> str:
    """How much smaller `ratio` is than 1: 55 % less, 3 % more."""
    return f"{percent(abs(1 - ratio), 0)} {word if ratio <= 1 else 'more'}"


def size(count: float) -> str:
    """Bytes, with k and M as powers of 1000."""
    text = si(count)
    return f"{text}B" if not text[-1].isdigit() else f"{text}{_GAP}B"


def count(value: int) -> str:
    """A whole number with thin commas for thousands."""
    return f"{value:,}"


def threshold(value: float | str | None, digits: int = 4) -> str:
    """So many significant digits; a word for the infinite ones and for the last exit, which has none."""
    if value is None:
        return "none: the rest leaves"
    number = float(value)
    if number == float("inf"):
        return "∞: nobody leaves"
    if number == float("-inf"):
        return "−∞: everybody leaves"
    return f"{number:.{digits}g}".replace("-", _MINUS)


def signed_points(difference: float) -> str:
    """A difference of two shares in percentage points, with its sign."""
    shown = points(difference, 2)
    sign = "" if shown == points(0.0, 2) else "+" if difference > 0 else _MINUS
    return sign + shown


class Spread(NamedTuple):
    """Mean and sample standard deviation of a figure over seeds; `sd` is None for one seed."""

    mean: float
    sd: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(fmean(values), stdev(values) if len(values) > 1 else None)

    def percent(self, digits: int = 2) -> str:
        """`97.20 ± 0.31 %`, or `97.20 %` for one seed."""
        if self.sd is None:
            return percent(self.mean, digits)
        return f"{100 * self.mean:.{digits}f}{_GAP}±{_GAP}{100 * self.sd:.{digits}f}{_GAP}%"

    def si(self) -> str:
        """`41.2 ± 0.3 k`, or `41.2 k`."""
        if self.sd is None:
            return si(self.mean)
        scale, letter = _scale(self.mean)
        number = _three(self.mean / scale)
        digits = len(number.partition(".")[2])
        return f"{number}{_GAP}±{_GAP}{self.sd / scale:.{digits}f}{_GAP}{letter}".rstrip(_GAP)


def interval(share: float, n: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share seen on `n` samples."""
    z = 1.96
    centre, scale = share + z * z / (2 * n), 1 + z * z / n
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def _scale(value: float) -> tuple[float, str]:
    # 999.6 k would be printed as 1000 k: the next letter begins where rounding does.
    return next((pair for pair in _SCALES if abs(value) >= 0.9995 * pair[0]), (1.0, ""))


def _three(value: float) -> str:
    digits = 2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0
    return f"{value:.{digits}f}"
