"""What holds of a policy on images that nobody tuned on: exact bounds, and thresholds chosen so that one holds.

Learn then Test (Angelopoulos et al., arXiv 2110.01052) by fixed-sequence testing, in an order that another split gives
as in Pareto Testing (Laufer-Goldshtein et al., ICLR 2023). Losses are 0 or 1, so that binomial tails are exact.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from offramp.policy.policy import Policy, operate
from offramp.policy.table import ScoreTable

Loss = Callable[[Policy, ScoreTable], NDArray[np.bool_]]
"""(N,), the samples that count against a policy."""

CONFIDENCE = 0.95


def wrong(policy: Policy, table: ScoreTable) -> NDArray[np.bool_]:
    """(N,), samples whose answer is wrong."""
    return ~table.correct[np.arange(table.samples), policy.decide(table)]


def lost(policy: Policy, table: ScoreTable) -> NDArray[np.bool_]:
    """(N,), samples whose answer is wrong, and that of the last exit right: what leaving early costs."""
    return wrong(policy, table) & table.correct[:, -1]


LOSSES: Mapping[str, Loss] = {"error": wrong, "lost": lost}


def upper_bound(count: int, samples: int, confidence: float = CONFIDENCE) -> float:
    """The rate that, with this confidence, is not exceeded where `count` of `samples` were counted (Clopper-Pearson).

    Raises:
        ValueError: no sample, more counted than there are, or a confidence outside 0..1.
    """
    from scipy.stats import beta

    if not 0 <= count <= samples or samples < 1:
        raise ValueError(f"count is {count} of {samples} samples; it must be 0 to samples, and samples at least 1")
    _check_share("confidence", confidence)
    return 1.0 if count == samples else float(beta.ppf(confidence, count + 1, samples - count))


def promised(policy: Policy, calibrate: ScoreTable, confidence: float = CONFIDENCE) -> dict[str, float]:
    """What holds, each with this confidence, on images drawn as those of `calibrate`, on which nothing was set.

    `error_at_most`: the share that is answered wrongly; `lost_at_most`: wrongly where the last exit would be right;
    beside `n`, the images of `calibrate`, and `confidence`. Where there is one exit, none is lost, for certain.
    """
    found = {
        f"{name}_at_most": upper_bound(int(loss(policy, calibrate).sum()), calibrate.samples, confidence)
        for name, loss in LOSSES.items()
    }
    if not policy.thresholds:
        found["lost_at_most"] = 0.0
    return {"n": calibrate.samples, "confidence": confidence, **found}


def guaranteed(
    policies: Sequence[Policy],
    select: ScoreTable,
    calibrate: ScoreTable,
    costs: Sequence[float] | NDArray[np.float64],
    *,
    loss: str,
    most: float,
    confidence: float = CONFIDENCE,
) -> Policy | None:
    """The cheapest of `policies` whose rate of `loss` is at most `most`, with this confidence whatever is chosen.

    Policies are tested one after another, that with the least loss on `select` first, each by the chance of as few on
    `calibrate` if its rate were `most`; the first that fails ends it, so that all before hold together. The cheapest on
    `select` among these is taken.

    Args:
        policies: any; `curve` gives some that are worth testing.
        select: what they may have been tuned on.
        calibrate: what nothing was tuned on.
        costs: (E,), the whole cost of a sample that leaves at exit e.
        loss: one of `LOSSES`.
        most: the rate, 0 to 1.
        confidence: 0 to 1.

    Returns:
        None where not even the first holds: more calibration images, or a higher rate, are needed.

    Raises:
        ValueError: an unknown loss, or a rate or confidence outside 0..1.
    """
    from scipy.stats import binom

    if loss not in LOSSES:
        raise ValueError(f"loss is {loss!r}; allowed are {', '.join(LOSSES)}")
    _check_share("most", most)
    _check_share("confidence", confidence)
    spent = [operate(policy, select, costs).mean_cost for policy in policies]
    rates = [LOSSES[loss](policy, select).mean() for policy in policies]
    held: list[int] = []
    for i in sorted(range(len(policies)), key=lambda i: (rates[i], -spent[i])):
        counted = int(LOSSES[loss](policies[i], calibrate).sum())
        if binom.cdf(counted, calibrate.samples, most) > 1 - confidence:
            break
        held.append(i)
    return policies[min(held, key=lambda i: spent[i])] if held else None


def _check_share(name: str, value: float) -> None:
    if not 0 < value < 1:
        raise ValueError(f"{name} is {value!r}; it must lie between 0 and 1")
