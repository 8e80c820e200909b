"""What searched exit branches gain: seven kinds of branches on one backbone, all else held fixed.

    OMP_WAIT_POLICY=passive python benchmarks/branch_ablation.py

A network of the default space (see `BACKBONE`) has four early exits at fixed positions and a pooled linear classifier
at its end. Only the early exits' branches differ: (a) EDANAS's head; (b) NACHOS's head, fitted in by its adapter, as a
plain branch: without the gate, so that kinds differ in the branch and not in the exit rule; (c) a pooled linear
classifier; (d) AEBNAS's 272 branches, searched; (e) the default space's branches, searched. Two controls tell what the
search has to do with it, another draw for every seed: (f) `random`, any of AEBNAS's branches at every exit; (g)
`random-macs`, one of the three whose MACs are nearest to those of the branch that (d) has there.

1. For every seed the backbone is trained with its final exit. All kinds go on from these weights.
2. For (d) and (e), on the first seed's backbone, frozen: the branches of all positions are trained as slices of shared
   weights, scored on `select` one by one, and combined: coordinate ascent over each position's non-dominated branches
   (select accuracy, MACs). A combination's worth is its select accuracy within each of the budgets (thresholds from a
   grid, any exit subset), averaged. Thus the search optimises what is reported.
3. Every kind is trained jointly, all weights, by the same schedule and seeds.
4. On `select` the curve over all thresholds and exit subsets is taken; the most accurate point within each budget is
   applied to `test`. Budgets are mean MACs, every branch that ran charged.

A row is kept in WORK/rows.jsonl as soon as it is there, and a training goes on from its last epoch; started again, what
is done is not done again. The networks' score tables stay in WORK, for `threshold_grid.py`. Writes
benchmarks/results/aebnas-ablation.json, and .md and .svg beside it.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations, product
from pathlib import Path
from statistics import mean, stdev
from time import monotonic
from typing import Any

import numpy as np
import torch
from torch import Tensor

from offramp.architecture import Activate, Architecture, Branch, Conv
from offramp.cost import cost
from offramp.data import Split, Task, task
from offramp.layers import branch_layers, layers
from offramp.nn import EarlyExitNet, Supernet, build
from offramp.nn.blocks import batch_norms
from offramp.nn.supernet import shared_name
from offramp.policy import ScoreTable, operate, subset_curve
from offramp.policy.archive import Archive
from offramp.policy.grid import try_each_exit, try_grids
from offramp.policy.lattice import Lattice
from offramp.progress import track
from offramp.run_folder import identity, write_json, write_text
from offramp.search.scoring import draw_images
from offramp.spaces import AebnasSpace, Candidate, Gene, Genotype, SearchSpace, space
from offramp.spaces._mobilenet import head
from offramp.spaces.nachos import adapt
from offramp.training import TrainSettings, score, train
from offramp.training._fit import fit, to_float
from offramp.training._losses import mixed
from record import RESULTS, hardware, record

RANDOM = ("random", "random-macs")
KINDS = ("edanas", "nachos", "linear", "aebnas", "default", *RANDOM)
SEARCHED = ("aebnas", "default")
NEAREST = 3  # branches that `random-macs` draws from
MEASURE = "margin"
BACKBONE: dict[str, Any] = {
    "stem_strides": [2], "stem_widths": [12], "widths": [[12], [24], [40], [64], [96]],
    "depths": [[1], [2], [2], [2], [1]], "strides": [1, 2, 2, 1, 2], "kernels": [3], "expansions": [4],
    "squeeze_excite": [False],
}  # fmt: skip
"""One choice for every gene of the default space's backbone: 3.1 MMACs at 32 x 32, maps of 16, 8, 4, 4 and 4."""
SHARES = (0.2, 0.3, 0.4, 0.5, 0.6, 0.8)
"""The budgets, as shares of the MACs of the network without early exits; `HEADLINE` is the one told in a row."""
HEADLINE = 0.5
VARIANTS = 2  # branches that every position trains in a step of the search
SCORED, STATISTICS = 2000, 1000  # images of select and of train on which the search scores every branch
Row = dict[str, Any]


def backbone(task: Task, **branches: Any) -> SearchSpace:
    """The default space with one backbone; all its branches unless the options say otherwise."""
    return space("offramp", task.input, len(task.classes), **BACKBONE, **branches)


def plain(task: Task) -> Architecture:
    """The network with a pooled linear classifier at every exit."""
    return backbone(task, branch_depths=[0], branch_widths=[16], poolings=["avg1"]).largest()


def with_branches(architecture: Architecture, branches: Sequence[Branch]) -> Architecture:
    """`architecture` with these early exits."""
    early = (s.model_copy(update={"exit": b}) for s, b in zip(architecture.stages, branches))
    return architecture.model_copy(update={"stages": (*early, architecture.stages[-1])})


def widths(architecture: Architecture) -> list[int]:
    """Channels that each early exit reads."""
    return [stage.backbone[-1].shape_out.channels for stage in layers(architecture)[:-1]]


def fixed(kind: str, base: Architecture) -> Architecture:
    """The network of a kind whose branches are not searched."""
    if kind == "edanas":
        return with_branches(base, [head(6 * c, 8 * c) for c in widths(base)])
    if kind == "nachos":
        convolutions = tuple(Conv(out=out, norm=False) for out in (32, 64, 128))
        return adapt(with_branches(base, [Branch(blocks=(Activate(), *convolutions), pool="none")] * len(widths(base))))
    return base


def branches(kind: str, task: Task) -> list[list[Branch]]:
    """Every branch that a searched kind has for each early exit."""
    if kind == "aebnas":
        within = AebnasSpace(task.input, len(task.classes))
        return [list(within.branches(channels)) for channels in widths(plain(task))]
    return [list(found) for found in zip(*_default_branches(backbone(task)))]


def _default_branches(within: Any) -> Iterator[tuple[Branch, ...]]:
    """For every kind of branch in the default space, that branch at each early exit."""
    o, first = within.options, {gene.name: gene.choices[-1] for gene in within.genes}
    for depth, pool in product(o.branch_depths, o.poolings):
        for width, *operators in product(
            o.branch_widths if depth else o.branch_widths[:1], *[o.branch_operators] * depth
        ):
            kind = {"depth": depth, "pool": pool, "width": width} | {
                f"{j}.operator": n for j, n in enumerate(operators)
            }
            values = first | {f"{i}.exit.{name}": value for i in range(within.stages) for name, value in kind.items()}
            stages = within.decode(within.indices(values)).architecture.stages
            yield tuple(stage.exit for stage in stages[:-1])


class BranchSpace(SearchSpace):
    """One backbone, and of `branches` one at each early exit; what the supernet shares its weights over.

    Without those that cost more than all that lies behind them: going on to the final exit would be cheaper.
    """

    name = "branches"

    def __init__(self, base: Architecture, branches: Sequence[Sequence[Branch]]) -> None:
        self.base, self.branches = base, branches
        self.input, self.classes = base.input, base.classes
        record = cost(base)
        rest = np.cumsum([stage.macs for stage in record.stages][::-1])[-2::-1] + record.exits[-1].branch.macs
        kept = [
            [b for b, m in zip(*pair) if m < most] for *pair, most in zip(branches, self._sums("macs", branches), rest)
        ]
        self.choices, self.macs = kept, self._sums("macs", kept)
        self.genes = tuple(Gene(f"{i}.exit", tuple(range(len(found)))) for i, found in enumerate(kept))

    def decode(self, genotype: Sequence[int]) -> Candidate:
        """See `SearchSpace.decode`."""
        self.values(genotype)
        return Candidate(with_branches(self.base, [of[i] for of, i in zip(self.choices, genotype)]))

    def encode(self, candidate: Candidate) -> Genotype:
        """See `SearchSpace.encode`."""
        return tuple(of.index(s.exit) for of, s in zip(self.choices, candidate.architecture.stages))

    def size(self) -> int:
        """See `SearchSpace.size`."""
        return int(np.prod([len(found) for found in self.choices], dtype=object))

    def smallest(self) -> Architecture:
        """See `SearchSpace.smallest`."""
        return self.decode([min(range(len(m)), key=m.__getitem__) for m in self.macs]).architecture

    def largest(self) -> Architecture:
        """See `SearchSpace.largest`."""
        return self.decode([max(range(len(m)), key=m.__getitem__) for m in self.macs]).architecture

    def cover(self) -> list[Architecture]:
        """See `SearchSpace.cover`: every branch, those of most parameters first, of which the others are slices."""
        order = [
            [b for _, b in sorted(zip(params, of), key=lambda pair: -pair[0])]
            for params, of in zip(self._sums("params", self.branches), self.branches)
        ]
        return [with_branches(self.base, exits) for exits in zip(*order)]

    def sandwich(self, rng: np.random.Generator, count: int, variants: int = 0) -> list[tuple[Architecture, ...]]:
        """See `SearchSpace.sandwich`: there is one backbone, so one tuple."""
        return [tuple(self.sample(rng) for _ in range(1 + variants))]

    @property
    def most(self) -> int:
        """The largest number of choices at an exit."""
        return max(len(found) for found in self.choices)

    def _sums(self, what: str, branches: Sequence[Sequence[Branch]]) -> list[list[int]]:
        """A figure of every branch, summed over its layers."""
        shapes = [stage.backbone[-1].shape_out for stage in layers(self.base)[:-1]]
        return [
            [sum(getattr(layer, what) for layer in branch_layers(b, shape, self.classes)) for b in of]
            for shape, of in zip(shapes, branches)
        ]


class Pretrained:
    """In the place of a supernet: networks begin with this backbone and final exit, their branches at random."""

    def __init__(self, net: EarlyExitNet, seed: int) -> None:
        self._weights, self._seed = net.state_dict(), seed

    def slice(self, architecture: Architecture) -> EarlyExitNet:
        """A network of `architecture`, which has the same backbone and final exit."""
        net = build(architecture, self._seed)
        net.load_state_dict(net.state_dict() | self._weights)
        return net


class Ablation:
    """The steps, each of which is found in `work` once it is done."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.work = given, given.work / given.dataset
        sizes = {"select": 4000, "calibrate": 2000} if given.dataset in ("cifar10", "cifar100") else {}
        self.task = task(given.dataset, limit=given.limit, **sizes)
        self.base = plain(self.task)
        self.static_macs = cost(self.base.with_exits(self.base.exits[-1:])).total.macs
        self.budgets = [round(share * self.static_macs) for share in SHARES]
        self._pretrained: dict[int, EarlyExitNet] = {}

    def settings(self, epochs: int, lr: float) -> TrainSettings:
        """One phase; the batch is smaller where there are few images."""
        batch = 128 if len(self.task.train) > 10_000 else 64
        return TrainSettings(batch=batch, lr=lr, backbone_epochs=0, joint_epochs=epochs)

    def made_of(self, *parts: Any) -> str:
        """The name of what follows from `parts` and the data."""
        return identity(self.base.to_json(), self.task.fingerprint(), *parts)

    def train(
        self, architecture: Architecture, name: str, settings: TrainSettings, seed: int, start: Any
    ) -> EarlyExitNet:
        """Trained from `start`, going on from a checkpoint."""
        made_of = self.made_of(name, architecture.to_json(), settings.model_dump(), self.given.backbone_epochs, seed)
        total = settings.epochs * (len(self.task.train) // settings.batch * settings.batch)
        with track(name, total) as bar:
            return train(
                architecture, self.task.without_test(), settings, supernet=start, seed=seed,
                identity=made_of, checkpoint=self.work / f"{name}-{made_of}.checkpoint", track=bar,
            )  # fmt: skip

    def pretrained(self, seed: int) -> EarlyExitNet:
        """The backbone with its final exit; its checkpoint, at the last epoch, is kept."""
        if seed not in self._pretrained:
            static, settings = (
                self.base.with_exits(self.base.exits[-1:]),
                self.settings(self.given.backbone_epochs, 0.2),
            )
            self._pretrained[seed] = self.train(static, f"backbone-seed{seed}", settings, seed, None)
        return self._pretrained[seed]

    def architecture(self, kind: str, seed: int) -> Architecture:
        """The network of a kind: fixed, what the search chose, or drawn by `seed`."""
        if kind in RANDOM:
            within = BranchSpace(self.base, branches("aebnas", self.task))
            like = self.architecture("aebnas", seed) if kind == "random-macs" else None
            return drawn_branches(within, seed, like)
        if kind not in SEARCHED:
            return fixed(kind, self.base)
        key = self.made_of(kind, self.given.backbone_epochs, self.given.search_epochs, self.budgets)
        path = self.work / f"chosen-{kind}-{key}.json"
        if not path.exists():
            write_text(path, self.searched(kind, key).to_json(indent=1) + "\n")
        return Architecture.load(path)

    def searched(self, kind: str, key: str) -> Architecture:
        """Steps 1 and 2 of the search: train the shared branches, then choose."""
        within, net = BranchSpace(self.base, branches(kind, self.task)), self.pretrained(self.given.seeds[0])
        supernet = frozen(Supernet(within), net)
        settings = self.settings(self.given.search_epochs, 0.1)
        total = settings.epochs * (len(self.task.train) // settings.batch * settings.batch)
        with track(f"branches of {kind}", total) as bar:
            fit(
                supernet, lambda _epoch, step: branch_loss(supernet, step, settings), self.task.without_test(),
                settings, settings.epochs, seed=0, identity=key, checkpoint=self.work / f"{kind}-{key}.checkpoint",
                track=bar,
            )  # fmt: skip
        select = drawn(self.task.select, SCORED)
        said = branch_logits(supernet, net, self.task, select)
        chosen, worth = choose(within, said, select.labels.numpy(), self.costs_of(), self.budgets)
        print(
            f"{kind}: {chosen} of {within.size():.3g}, mean select accuracy within the budgets {worth:.4f}", flush=True
        )
        return within.decode(chosen).architecture

    def costs_of(self) -> Callable[[Sequence[int], Sequence[int]], np.ndarray]:
        """Function of the early branches' MACs and the exits kept: executed MACs of leaving at each of these."""
        record = cost(self.base)
        upto, final = np.cumsum([stage.macs for stage in record.stages]), record.exits[-1].branch.macs

        def leaving(branches: Sequence[int], exits: Sequence[int]) -> np.ndarray:
            return upto[list(exits)] + np.cumsum(np.array([*branches, final])[list(exits)])

        return leaving

    def row(self, kind: str, seed: int, made_of: str) -> Row:
        """Train one network, and tell what it does within each budget."""
        begin, architecture = monotonic(), self.architecture(kind, seed)
        start = Pretrained(self.pretrained(seed), seed)
        net = self.train(architecture, f"{kind}-seed{seed}", self.settings(self.given.epochs, 0.1), seed, start)
        select, test = score(net, self.task.select), score(net, self.task.test)
        folder = self.work / f"{kind}-seed{seed}"
        write_text(folder / "architecture.json", architecture.to_json(indent=1) + "\n")
        select.save(folder / "select_scores.npz")
        test.save(folder / "test_scores.npz")
        record = cost(architecture)
        branches = [exit.branch.macs for exit in record.exits[:-1]]
        points = list(self.points(select, test, branches))
        headline = points[SHARES.index(HEADLINE)]
        return {
            "name": kind, "seed": seed, "split": "test", "n": test.samples,
            "accuracy": headline["accuracy"], "mean_macs": headline["mean_macs"], "mac_rule": "executed",
            "thresholds_from": "select", "measure": MEASURE, "budgets": points,
            "exit_accuracy": test.exit_accuracy.tolist(), "branch_macs": branches, "exit_macs": list(record.leaving()),
            "params": record.params, "architecture": architecture.key, "seconds": round(monotonic() - begin, 1),
            "made_of": made_of,
        }  # fmt: skip

    def points(self, select: ScoreTable, test: ScoreTable, branches: Sequence[int]) -> Iterator[Row]:
        """For every budget the most accurate point on select within it, applied to test; None where there is none."""
        costs = self.costs_of()
        found = subset_curve(select, lambda exits: costs(branches, exits).tolist(), measures=MEASURE)
        for budget in self.budgets:
            within = [choice for choice in found if choice.point.mean_cost <= budget]
            if not within:
                yield {"budget": budget, "accuracy": None, "mean_macs": None}
                continue
            exits, point = within[-1].exits, within[-1].point
            tested = operate(point.policy, test.keep(exits), costs(branches, exits))
            yield {
                "budget": budget, "accuracy": tested.accuracy, "mean_macs": tested.mean_cost, "exits": list(exits),
                "utilisation": list(tested.utilisation), "thresholds": point.policy.to_dict()["thresholds"],
                "select_accuracy": point.accuracy, "select_mean_macs": point.mean_cost,
            }  # fmt: skip

    def rows(self) -> list[Row]:
        """All rows, seed by seed; those that are there already are taken from the folder."""
        kept, made = self.work / "rows.jsonl", []
        self.work.mkdir(parents=True, exist_ok=True)
        done = (
            {row["made_of"]: row for row in map(json.loads, kept.read_text(encoding="utf-8").splitlines())}
            if kept.exists()
            else {}
        )
        for seed, kind in product(self.given.seeds, self.given.kinds):
            g = self.given
            made_of = self.made_of(kind, seed, g.epochs, g.backbone_epochs, g.search_epochs, g.seeds[0], self.budgets)
            if made_of not in done:
                row = self.row(kind, seed, made_of)
                with kept.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(row) + "\n")
                done[made_of] = row
            made.append(done[made_of])
            print(f"{kind:8} seed {seed}: {told(made[-1]['budgets'])}", flush=True)
        return made


def drawn_branches(within: BranchSpace, seed: int, like: Architecture | None) -> Architecture:
    """A random branch at every exit; of those nearest in MACs to that of `like`, which is none of them, if given."""
    if like is None:
        return within.sample(seed)
    rng, chosen = np.random.default_rng(seed), within.encode(Candidate(like))
    return within.decode(
        [
            int(rng.choice(sorted((k for k in range(len(m)) if k != own), key=lambda k: abs(m[k] - m[own]))[:NEAREST]))
            for m, own in zip(within.macs, chosen)
        ]
    ).architecture


def frozen(supernet: Supernet, net: EarlyExitNet) -> Supernet:
    """`supernet` with the backbone and final exit of `net`, which training leaves as they are."""
    supernet.mean.copy_(net.mean)
    supernet.std.copy_(net.std)
    inside = supernet.space.largest()
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            shared = supernet.weights[shared_name(inside, name)]
            shared.copy_(parameter)
            shared.requires_grad_(False)
    return supernet


def branch_loss(supernet: Supernet, step: int, settings: TrainSettings) -> Callable[[Tensor, Tensor], Tensor]:
    """A step's loss: random branches at every position learn from the labels and the final exit, as in the training."""
    networks = supernet.space.sandwich(np.random.default_rng((1, step)), 0, VARIANTS - 1)[0]
    exits = len(networks[0].exits)

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        logits = supernet(images, *networks)
        early = [e for e in range(logits.shape[1]) if e % exits < exits - 1]
        return mixed(logits[:, early], labels, logits[:, exits - 1], settings.distill, settings.temperature).sum()

    return loss


@torch.inference_mode()
def branch_logits(
    supernet: Supernet, net: EarlyExitNet, task: Task, select: Split
) -> tuple[list[np.ndarray], np.ndarray]:
    """What every branch says of `select`: (branches, N, K) for each early exit, and the final exit (N, K).

    The backbone is run once; batch-norm statistics of branches are those of `STATISTICS` training images.
    """
    within: Any = supernet.space
    whole = EarlyExitNet(within.base)
    whole.load_state_dict(whole.state_dict() | net.state_dict())
    statistics, maps = (_maps(whole.eval(), split) for split in (drawn(task.train, STATISTICS), select))
    said: list[list[Tensor]] = [[] for _ in within.choices]
    with track("scoring branches", within.most) as bar:
        for k in range(within.most):
            candidate = supernet.slice(within.decode([k % len(of) for of in within.choices]).architecture)
            for i, (stage, of) in enumerate(zip(candidate.ordered, within.choices)):
                if k < len(of) and stage.exit is not None:
                    said[i].append(_scored(stage.exit, statistics[i], maps[i]))
            bar.advance()
    return [torch.stack(of).numpy() for of in said], whole.classify(maps)[:, -1].numpy()


def _maps(net: EarlyExitNet, split: Split) -> list[Tensor]:
    """Every exit's feature maps of all images."""
    chunks = [net.features(to_float(chunk, net.mean.device)) for chunk in split.images.split(250)]
    return [torch.cat(found).contiguous(memory_format=torch.channels_last) for found in zip(*chunks)]


def _scored(branch: torch.nn.Module, statistics: Tensor, maps: Tensor) -> Tensor:
    """Logits (N, K) of a branch whose batch norm has the statistics of some maps."""
    for norm in batch_norms(branch):
        norm.momentum = None
    branch.train()
    for chunk in statistics.split(250):
        branch(chunk)
    branch.eval()
    return torch.cat([branch(chunk) for chunk in maps.split(250)])


def drawn(split: Split, count: int) -> Split:
    """Up to `count` images of a split."""
    positions = draw_images(len(split), count)
    return Split(split.images[positions], split.labels[positions])


def choose(
    within: BranchSpace,
    said: tuple[list[np.ndarray], np.ndarray],
    labels: np.ndarray,
    costs_of: Callable[[Sequence[int], Sequence[int]], np.ndarray],
    budgets: Sequence[float],
    starts: int = 3,
) -> tuple[list[int], float]:
    """The best combination of branches found by coordinate ascent from `starts` random ones, and its worth."""
    early, final = said
    short = [front(macs, (logits.argmax(-1) == labels).mean(-1)) for macs, logits in zip(within.macs, early)]
    known: dict[tuple[int, ...], float] = {}

    def worth(chosen: tuple[int, ...]) -> float:
        if chosen not in known:
            logits = np.stack([*(of[k] for of, k in zip(early, chosen)), final], 1)
            macs = [within.macs[i][k] for i, k in enumerate(chosen)]
            known[chosen] = within_budgets(ScoreTable(logits, labels), lambda exits: costs_of(macs, exits), budgets)
        return known[chosen]

    rng, best = np.random.default_rng(0), (0,) * len(short)
    with track("combining branches", starts) as bar:
        for _ in range(starts):
            now, before = tuple(int(rng.choice(found)) for found in short), -1.0
            while worth(now) > before:
                before = worth(now)
                for i, found in enumerate(short):
                    now = max(((*now[:i], k, *now[i + 1 :]) for k in found), key=worth)
            best = max(best, now, key=worth)
            bar.advance(1, f"{len(known)} combinations")
    return list(best), worth(best)


def front(macs: Sequence[int], accuracy: np.ndarray) -> list[int]:
    """The branches that no cheaper one equals in accuracy."""
    order = np.lexsort((-accuracy, macs))
    record = np.maximum.accumulate(accuracy[order])
    return order[np.diff(record, prepend=-1) > 0].tolist()


def within_budgets(table: ScoreTable, costs: Callable[[Sequence[int]], np.ndarray], budgets: Sequence[float]) -> float:
    """Mean over the budgets of the best accuracy within each: thresholds from grids, every exit subset."""
    best, last = np.zeros(len(budgets)), table.exits - 1
    for count in range(table.exits):
        for exits in ((*chosen, last) for chosen in combinations(range(last), count)):
            part = table.keep(exits)
            archive = Archive(Lattice.of(part, costs(exits), MEASURE))
            try_each_exit(archive)
            try_grids(archive, part)
            correct, cost, _ = archive.front
            for b, budget in enumerate(budgets):
                best[b] = max([best[b], *(correct[cost <= budget] / table.samples)])
    return float(best.mean())


def told(points: Sequence[Row]) -> str:
    """Accuracies at budgets, in a line."""
    return ", ".join(
        f"{p['accuracy']:.2%} @ {p['mean_macs'] / 1e6:.2f}M"
        if p["accuracy"] is not None
        else f"- @ {p['budget'] / 1e6:.2f}M"
        for p in points
    )


def summary(rows: Sequence[Row]) -> list[Row]:
    """Per kind and budget: mean and deviation over seeds of accuracy and mean MACs."""
    found = []
    for kind, b in product(dict.fromkeys(row["name"] for row in rows), range(len(SHARES))):
        points = [row["budgets"][b] for row in rows if row["name"] == kind]
        reached = [p for p in points if p["accuracy"] is not None]
        if len(reached) < len(points):
            continue
        accuracy = [p["accuracy"] for p in reached]
        found.append(
            {
                "name": kind, "budget": points[0]["budget"], "seeds": len(reached), "accuracy": mean(accuracy),
                "deviation": stdev(accuracy) if len(accuracy) > 1 else None,
                "mean_macs": mean(p["mean_macs"] for p in reached),
            }
        )  # fmt: skip
    return found


def table(rows: Sequence[Row], budgets: Sequence[int]) -> str:
    """Markdown: a line per kind, a column per budget."""
    cells = {(s["name"], s["budget"]): s for s in summary(rows)}
    lines = ["| branches | " + " | ".join(f"{b / 1e6:.3g} M" for b in budgets) + " | branch MACs |"]
    lines.append("|---" * (len(budgets) + 2) + "|")
    for kind in dict.fromkeys(row["name"] for row in rows):
        of = [cells.get((kind, b)) for b in budgets]
        macs = np.mean([row["branch_macs"] for row in rows if row["name"] == kind], 0)
        shown = [f"{100 * c['accuracy']:.2f}{_deviation(c)}" if c else "-" for c in of]
        lines.append(f"| {kind} | {' | '.join(shown)} | {', '.join(f'{m / 1e3:.0f}k' for m in macs)} |")
    return "\n".join(lines) + "\n"


def _deviation(cell: Row) -> str:
    return "" if cell["deviation"] is None else f" ± {100 * cell['deviation']:.2f}"


def plot(rows: Sequence[Row], path: Path) -> None:
    """Accuracy against executed mean MACs on test, mean and deviation over seeds."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for kind in dict.fromkeys(row["name"] for row in rows):
        cells = [s for s in summary(rows) if s["name"] == kind]
        spread = [100 * (s["deviation"] or 0) for s in cells]
        x, y = [s["mean_macs"] / 1e6 for s in cells], [100 * s["accuracy"] for s in cells]
        axes.errorbar(x, y, spread, label=f"{kind} (searched)" if kind in SEARCHED else kind, marker="o", capsize=3)
    axes.set_xlabel("executed mean MACs, millions (test)")
    axes.set_ylabel("test accuracy, %")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.savefig(path)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--dataset", default="cifar10")
    parser.add_argument("--kinds", nargs="+", default=list(KINDS), choices=KINDS)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=7, help="joint training of each network (default: %(default)s)")
    parser.add_argument("--backbone-epochs", type=int, default=7, help="before it, per seed (default: %(default)s)")
    parser.add_argument("--search-epochs", type=int, default=2, help="of the shared branches (default: %(default)s)")
    parser.add_argument("--limit", type=int, help="use only so many training images, to try it out")
    parser.add_argument("--work", type=Path, default=Path("runs/branch-ablation"), help="what is done is kept here")
    parser.add_argument("--out", type=Path, default=RESULTS / "aebnas-ablation.json")
    return parser.parse_args()


def main() -> None:
    """Train what is missing, write the files, print the table."""
    given = arguments()
    ablation = Ablation(given)
    rows = ablation.rows()
    shown = [{key: value for key, value in row.items() if key != "made_of"} for row in rows]
    schedule = {key: getattr(given, key) for key in ("epochs", "backbone_epochs", "search_epochs")}
    result = record(
        "accuracy within budgets of executed mean MACs, by kind of exit branch, all else held fixed", "executed", shown,
        hardware=f"{hardware()}, {torch.get_num_threads()} threads",
        data=given.dataset, splits={name: len(split) for name, split in ablation.task.splits.items()},
        notes=list(ablation.task.notes), schedule=schedule, static_macs=ablation.static_macs,
        networks={
            (network := ablation.architecture(kind, seed)).key: network.model_dump(mode="json")
            for kind, seed in product(given.kinds, given.seeds)
        },
        summary=summary(rows),
    )  # fmt: skip
    write_json(given.out, result)
    text = table(rows, ablation.budgets)
    write_text(given.out.with_suffix(".md"), text)
    plot(rows, given.out.with_suffix(".svg"))
    print(text + f"written: {given.out}, and .md and .svg beside it")


if __name__ == "__main__":
    main()
