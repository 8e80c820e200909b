"""The search for a network's best mapping: Pareto labels of energy, time and objective, stage by stage."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from offramp.cost.labels import Label, leaving
from offramp.cost.links import Place
from offramp.cost.mapper import Aside, Mapper
from offramp.cost.ways import NOTHING, Way, pareto
from offramp.layers import StageLayers

State = tuple[Place, bool]
"""Where the next stage's input lies, and whether a branch runs beside that stage."""

Point = tuple[int, Place | State]
"""A point on the way: behind a stage's backbone (its number and a `Place`), or before a stage (a `State`)."""

Least = tuple[np.ndarray, np.ndarray]
"""pJ and cycles to every exit, at least."""

Score = Callable[[int, float, float], float]
"""The objective's part of an exit, by its number, pJ and cycles."""

Prune = Callable[[list[Label], Point, int], list[Label]]
"""Those labels at a point that are worth keeping; the number is that of the exits behind it."""


class Search:
    """The best mapping of a network's `stages` where the share `shares[k]` of the samples leaves at exit k."""

    def __init__(self, mapper: Mapper, stages: Sequence[StageLayers], shares: Sequence[float], speculate: bool) -> None:
        self.mapper, self.stages, self.speculate = mapper, stages, speculate
        numbers = [number for number, stage in enumerate(stages) if stage.branch]
        self.exit_of = {number: k for k, number in enumerate(numbers)}
        self.shares = np.array(shares, float)
        self._reached: dict[int, set[State]] = {}

    def best(self, objective: str) -> Label:
        """The label of the whole network with the least mean "energy", "latency" or "et"; no mapping is better."""
        count = len(self.shares)
        if objective != "et":
            return self._linear(np.tile((1.0, 0.0) if objective == "energy" else (0.0, 1.0), (count, 1)))
        # A good one first: least latency, then the best by what energy and latency are worth there, and so on.
        found, value, weights = None, np.inf, np.tile((0.0, 1.0), (count, 1))
        while True:
            label = self._linear(weights)
            costs = np.array([cost[:2] for cost in leaving(label)])
            now = float(costs.prod(1) @ self.shares)
            if found is not None and now >= value * (1 - 1e-12):
                return self._product(value) or found
            found, value, weights = label, now, costs[:, ::-1]

    def _linear(self, weights: np.ndarray) -> Label:
        """The least sum over exits of share x (weights[k, 0] x pJ + weights[k, 1] x cycles): one label per state."""
        worth = (self.shares[:, None] * weights).tolist()
        ahead = [[sum(row[i] for row in worth[k:]) for i in (0, 1)] for k in range(len(worth) + 1)]

        def score(k: int, pj: float, cycles: float) -> float:
            return worth[k][0] * pj + worth[k][1] * cycles

        def prune(labels: list[Label], point: Point, k: int) -> list[Label]:
            a, b = ahead[k]
            return [min(labels, key=lambda x: (x.score + a * x.pj + b * x.cycles, x.pj, x.cycles))]

        found = self._run(score, prune)
        assert found is not None
        return found

    def _product(self, value: float) -> Label | None:
        """The least sum over exits of share x pJ x cycles, if it is below `value`.

        This is a sum of products: a label is dropped only where another at the same point has no more energy, no more
        time and no more of the objective, or where the least energy and least time ahead cannot bring it below `value`.
        """
        bounds, shares = self._bounds(), self.shares.tolist()

        def score(k: int, pj: float, cycles: float) -> float:
            return shares[k] * pj * cycles

        def prune(labels: list[Label], point: Point, k: int) -> list[Label]:
            pj, cycles = bounds[point]
            now = np.array([label[:3] for label in labels])
            product = (now[:, :1] + pj[k:]) * (now[:, 1:2] + cycles[k:])
            good = np.flatnonzero(now[:, 2] + product @ self.shares[k:] < value * (1 - 1e-12))
            kept: list[Label] = []
            for label in sorted((labels[i] for i in good), key=lambda x: x[:3]):
                if not any(x.cycles <= label.cycles and x.score <= label.score for x in kept):
                    kept.append(label)
            return kept

        return self._run(score, prune)

    def _run(self, score: Score, prune: Prune) -> Label | None:
        """Labels from the image to the last exit; of those that are left there, the one with the least score."""
        start = Label(0.0, 0.0, 0.0, None, NOTHING, None)
        states: dict[State, list[Label]] = {(self.mapper.cores.home, False): [start]}
        k = 0  # exits whose branch has been started
        for number, stage in enumerate(self.stages):
            self._reached.setdefault(number, set(states))
            ended = self._through_backbone(number, k, states, score)
            kept = {place: prune(labels, (number, place), k) for place, labels in ended.items()}
            if not stage.branch:
                states = {(place, False): labels for place, labels in kept.items()}
                continue
            states = {}
            for state, labels in self._through_branch(number, k, kept, score):
                decided = k if state[1] else k + 1
                states[state] = prune(labels, (number + 1, state), decided) if labels else []
            k += 1
        found = [label for labels in states.values() for label in labels]
        return min(found, key=lambda x: (x.score, x.pj, x.cycles), default=None)

    def _through_backbone(
        self, number: int, k: int, states: Mapping[State, list[Label]], score: Score
    ) -> dict[Place, list[Label]]:
        """Labels behind the backbone, by where its output lies; the exit before has decided by then."""
        ended: dict[Place, list[Label]] = defaultdict(list)
        for (place, beside), labels in states.items():
            window = self._window(number, place, beside)
            for out, ways in self._ways(number, place, beside).items():
                for label in labels:
                    for way in ways:
                        got = label.score
                        if beside:
                            got += score(k - 1, label.pj + way.early_pj, label.cycles + window)
                        pj, cycles = label.pj + way.pj, label.cycles + way.cycles
                        ended[out].append(Label(pj, cycles, got, label, way, None))
        return ended

    def _through_branch(
        self, number: int, k: int, ended: Mapping[Place, list[Label]], score: Score
    ) -> Iterator[tuple[State, list[Label]]]:
        """Labels before the next stage: with the branch run first, and with it beside that stage."""
        for place, labels in ended.items():
            ways = self._waits(number, place)
            waited = [
                _with(label, way, way.cycles, score(k, label.pj + way.pj, label.cycles + way.cycles))
                for label in labels
                for way in ways
            ]
            yield (place, False), waited
            if self.speculate and number + 1 < len(self.stages):
                aside = self.mapper.aside(self.stages[number].branch, place)
                yield (place, True), [_with(label, aside, aside.dram, 0.0) for label in labels]

    def _waits(self, number: int, place: Place) -> list[Way]:
        """Ways to run a stage's branch before the next stage."""
        return pareto(way for ways in self.mapper.ways(self.stages[number].branch, place).values() for way in ways)

    def _ways(self, number: int, place: Place, beside: bool) -> dict[Place, list[Way]]:
        """Ways to run a stage's backbone."""
        return self.mapper.ways(self.stages[number].backbone, place, self._window(number, place, beside))

    def _window(self, number: int, place: Place, beside: bool) -> float:
        """How long a stage's backbone runs beside the branch before it."""
        return self.mapper.aside(self.stages[number - 1].branch, place).window if beside else 0.0

    def _bounds(self) -> dict[Point, Least]:
        """The least energy and the least time from every point to every exit, each on its own."""
        nothing = (np.zeros(len(self.shares)), np.zeros(len(self.shares)))
        found: dict[Point, Least] = {(len(self.stages), (p, False)): nothing for p in self._ends(len(self.stages) - 1)}
        for number in reversed(range(len(self.stages))):
            for place in self._ends(number):
                found[number, place] = self._least_behind(number, place, found)
            for state in self._reached[number]:
                found[number, state] = self._least_before(number, *state, found)
        return found

    def _least_behind(self, number: int, place: Place, found: Mapping[Point, Least]) -> Least:
        """The bounds behind a stage's backbone, from those before the next stage."""
        after, k = found[number + 1, (place, False)], self.exit_of.get(number)
        if k is None:
            return after
        waits = self._waits(number, place)
        pj, cycles = min(w.pj for w in waits), min(w.cycles for w in waits)
        least = (after[0] + pj, after[1] + cycles)
        least[0][k], least[1][k] = pj, cycles
        during = found.get((number + 1, (place, True)))
        if during is None:
            return least
        aside = self.mapper.aside(self.stages[number].branch, place)
        # There a sample of this exit leaves after the window, with the branch's energy at least.
        return np.minimum(least[0], during[0] + aside.way.pj), np.minimum(least[1], during[1] + aside.dram)

    def _least_before(self, number: int, place: Place, beside: bool, found: Mapping[Point, Least]) -> Least:
        """The bounds before a stage, from those behind its backbone."""
        ways = self._ways(number, place, beside)
        pj = np.min([min(w.pj for w in some) + found[number, out][0] for out, some in ways.items()], axis=0)
        cycles = np.min([min(w.cycles for w in some) + found[number, out][1] for out, some in ways.items()], axis=0)
        if beside:
            awaited = self.exit_of[number - 1]
            pj[awaited], cycles[awaited] = 0.0, self._window(number, place, beside)
        return pj, cycles

    def _ends(self, number: int) -> set[Place]:
        """Where the output of a stage's backbone may lie."""
        return {out for state in self._reached[number] for out in self._ways(number, *state)}


def _with(label: Label, branch: Way | Aside, cycles: float, score: float) -> Label:
    """`label` with its stage's branch, which delays the next stage by `cycles` and adds `score`."""
    pj = label.pj + (branch.way.pj if isinstance(branch, Aside) else branch.pj)
    return Label(pj, label.cycles + cycles, label.score + score, label.before, label.way, branch)
