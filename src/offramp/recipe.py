"""What a run is: a TOML file, checked as a whole before anything is computed."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    field_validator,
    model_validator,
)

from offramp.cost import DEVICES, MAC_RULES, DeviceError, NpuModel, analytic
from offramp.cost import device as find_device
from offramp.policy import GATE_MEASURES, MEASURES, THRESHOLDS
from offramp.search import METRICS, Constraint
from offramp.search.costs import BUDGETS, Costs, MappingMode
from offramp.search.penalty import DOMINATIONS
from offramp.spaces import SPACES, SearchSpace, options_of, space
from offramp.training import GateSettings, SupernetSettings, TrainSettings

# As in search/proposers and search/surrogates, which would load scikit-learn; a test holds them equal.
_PROPOSERS = ("random", "nsga2", "surrogate")
_SURROGATES = ("gp", "rbf", "trees", "mlp", "auto")
_PREDICT = ("objectives", "shares")
_EVALUATORS = ("one-shot", "fine-tune")
Listed = TypeVar("Listed", bound=Sequence[Any])


class RecipeError(ValueError):
    """A recipe with mistakes; `problems` has one line for each, by its path."""

    def __init__(self, source: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(f"{source}:\n" + "\n".join(f"  {problem}" for problem in problems))


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _one_of(allowed: Sequence[str]) -> BeforeValidator:
    def check(value: object) -> object:
        if value not in allowed:
            raise ValueError(f"{value!r} is unknown; allowed are {', '.join(allowed)}")
        return value

    return BeforeValidator(check)


def _once(what: str, given: Listed) -> Listed:
    """`given`, if nothing is in it twice."""
    twice = [item for item, times in Counter(given).items() if times > 1]
    if twice:
        raise ValueError(f"every {what} may be given once; more often are {', '.join(map(str, twice))}")
    return given


def _constraint(text: str) -> str:
    return str(Constraint.parse(text))


def _budget(section: BaseModel) -> tuple[str, float] | None:
    """The one of `BUDGETS` that a section gives, with its value."""
    return next(((n, value) for n in BUDGETS if (value := getattr(section, n)) is not None), None)


Count = Annotated[int, Field(ge=1)] | Annotated[float, Field(gt=0, lt=1)]


class DataSection(_Section):
    """Where the images come from, and how they are split."""

    name: str = "digits"
    root: str | None = Field(None, description="folder or file; default: the environment variable OFFRAMP_DATA")
    seed: int = 0
    select: Count | None = Field(None, description="images (or share of them) that search and thresholds are scored on")
    calibrate: Count | None = Field(None, description="images (or share) kept for guarantees")
    test: Count | None = Field(None, description="images (or share) for the test, where the set has no test split")
    limit: PositiveInt | None = Field(None, description="use only so many training images")
    size: tuple[PositiveInt, PositiveInt] | None = Field(
        None, description="height and width to resize a folder's images to"
    )
    flip: bool | None = None
    pad: NonNegativeInt | None = None


class SpaceSection(BaseModel):
    """The search space by name; every other key is an option of that space."""

    model_config = ConfigDict(extra="allow", frozen=True)

    name: Annotated[str, _one_of(SPACES)] = "offramp"

    @property
    def options(self) -> dict[str, Any]:
        """The options of the space, as given."""
        return dict(self.model_extra or {})


def _described(name: str) -> str:
    """A device's name, or the whole path of its file; what is wrong as one ValueError."""
    try:
        found = find_device(name)
    except OSError as error:
        raise ValueError(f"{name} cannot be read: {error.strerror}") from None
    except DeviceError as error:
        raise ValueError(f"{name}: {'; '.join(error.problems)}") from None
    if found.model is analytic:
        raise ValueError(f"{name!r} counts no energy and no latency; drop the section, or choose another device")
    return str(Path(name).resolve()) if name.endswith(".toml") else found.name


class HardwareSection(_Section):
    """The device that energy and latency are counted on."""

    device: Annotated[str, AfterValidator(_described)] = Field(
        description="a name that `offramp devices` lists, or the path of a .toml file"
    )
    mapping: MappingMode = Field(
        "none",
        description="one layer after another on one core; or all cores, branches after their stage (wait) "
        "or beside the next one (speculate)",
    )

    @model_validator(mode="after")
    def _cores_to_map_to(self) -> HardwareSection:
        Costs(device=self.device, mapping=self.mapping)
        return self


class PolicySection(_Section):
    """When a sample leaves."""

    measures: tuple[Annotated[str, _one_of((*MEASURES, *GATE_MEASURES))], ...] = Field(
        ("max_probability",), min_length=1
    )
    mac_rule: Annotated[str, _one_of(MAC_RULES)] = "executed"
    mean_macs: PositiveFloat | None = Field(None, description="most accuracy at this mean cost")
    mean_energy_mj: PositiveFloat | None = Field(None, description="likewise, of energy on the device")
    mean_latency_ms: PositiveFloat | None = Field(None, description="likewise, of latency on the device")
    et_avg: PositiveFloat | None = Field(None, description="likewise, of energy x latency on the device, J x cycles")
    accuracy: Annotated[float, Field(gt=0, le=1)] | None = Field(None, description="least mean cost at this accuracy")
    cost: Annotated[str, _one_of(BUDGETS)] | None = Field(
        None, description="with accuracy: which mean cost; default: mean_macs"
    )
    thresholds: Annotated[str, _one_of(THRESHOLDS)] = Field(
        "tuned",
        description="set by our tuner, the candidate's genes, or as papers do: a shared one, then repaired (NACHOS); "
        "the best score of a grid (AEBNAS)",
    )

    @property
    def budget(self) -> tuple[str, float] | None:
        """The mean cost that is bounded, and the bound; None where accuracy is."""
        return _budget(self)

    @property
    def metric(self) -> str:
        """The mean cost that is bounded or made small."""
        return self.budget[0] if self.budget else self.cost or "mean_macs"

    @model_validator(mode="after")
    def _one_goal(self) -> PolicySection:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) + (self.accuracy is not None) != 1:
            raise ValueError(
                f"give either {', '.join(BUDGETS)} (most accuracy at that cost) "
                "or accuracy (least cost at that accuracy)"
            )
        if given and self.cost is not None:
            raise ValueError(f"cost is {self.cost!r}, but {given[0]} is given; cost goes with accuracy")
        return self


class SearchSection(_Section):
    """Which candidates are evaluated, and what is wanted of them."""

    proposer: Annotated[str, _one_of(_PROPOSERS)] = "surrogate"
    evaluator: Annotated[str, _one_of(_EVALUATORS)] = Field(
        "one-shot", description="slices of the supernet, or each candidate trained by [finetune]"
    )
    surrogate: Annotated[str, _one_of(_SURROGATES)] = Field(
        "gp", description="the surrogate proposer's model; auto: the best by cross-validation, anew for every batch"
    )
    domination: Annotated[str, _one_of(DOMINATIONS)] = Field(
        "feasibility", description="the surrogate proposer's rule: feasible first, or penalty, NACHOS' F_CM (eq. 19)"
    )
    predict: Annotated[str, _one_of(_PREDICT)] = Field(
        "objectives", description="what the surrogates learn: mean costs as such, or where samples leave"
    )
    objectives: tuple[Annotated[str, _one_of(tuple(METRICS))], ...] = Field(("error", "mean_macs"), min_length=1)
    constraints: tuple[Annotated[str, AfterValidator(_constraint)], ...] = ()
    evaluations: PositiveInt = 100
    initial: PositiveInt = Field(32, description="random candidates before the proposer takes over")
    batch: PositiveInt = Field(8, description="candidates proposed at a time")
    baseline: bool = Field(True, description="also evaluate as many random candidates, for comparison")
    images: PositiveInt | None = Field(None, description="select images per evaluation; default: all")
    statistics_images: PositiveInt = Field(2000, description="training images for batch-norm statistics")
    storage: str | None = Field(None, description="an Optuna storage URL; default: study.journal in the run's folder")
    stop_after: PositiveInt | None = Field(None, description="stop when hypervolume has not grown for so many batches")
    retrain: NonNegativeInt = Field(
        0, description="candidates of so many last batches are trained by [train], and networks chosen among them"
    )

    @field_validator("objectives")
    @classmethod
    def _objectives_differ(cls, objectives: tuple[str, ...]) -> tuple[str, ...]:
        return _once("objective", objectives)

    @model_validator(mode="after")
    def _initial_fits(self) -> SearchSection:
        if self.initial > self.evaluations:
            raise ValueError(f"initial is {self.initial}, more than evaluations, {self.evaluations}")
        return self

    @model_validator(mode="after")
    def _penalty_has_a_bound(self) -> SearchSection:
        bounded = [c for c in map(Constraint.parse, self.constraints) if c.metric in self.objectives]
        if self.domination == "penalty" and not any(c.caps for c in bounded):
            raise ValueError("domination = 'penalty' needs a bound on an objective, such as \"mean_macs <= 2.7e6\"")
        return self


class Budget(_Section):
    """One network to deliver: the most accurate within one mean cost, or the best trade-off where none is given."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    mean_macs: PositiveFloat | None = None
    mean_energy_mj: PositiveFloat | None = None
    mean_latency_ms: PositiveFloat | None = None
    et_avg: PositiveFloat | None = None

    @property
    def budget(self) -> tuple[str, float] | None:
        """The mean cost that is bounded, and the bound; None for the best trade-off."""
        return _budget(self)

    @field_validator("name")
    @classmethod
    def _is_no_other_folder(cls, name: str) -> str:
        if name.startswith("static-") or "-seed" in name:
            raise ValueError(f"{name!r} may not begin with 'static-' or hold '-seed': other networks' folders do")
        return name

    @model_validator(mode="after")
    def _one_budget(self) -> Budget:
        given = [name for name in BUDGETS if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"budget {self.name!r} bounds {' and '.join(given)}; give one of them")
        return self


class DeliverSection(_Section):
    """Which networks of the front are trained, tested and exported."""

    budgets: tuple[Budget, ...] = Field((Budget(name="best"),), min_length=1)
    seeds: tuple[int, ...] = Field(
        (0,), min_length=1, description="final trainings; the first seed's network is exported"
    )
    static_macs: tuple[PositiveFloat, ...] = Field(
        (), description="MACs of static networks to train beside by the same schedule"
    )

    @field_validator("budgets")
    @classmethod
    def _names_differ(cls, budgets: tuple[Budget, ...]) -> tuple[Budget, ...]:
        _once("budget's name", [budget.name for budget in budgets])
        return budgets

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        return _once("seed", seeds)

    @field_validator("static_macs")
    @classmethod
    def _statics_differ(cls, macs: tuple[float, ...]) -> tuple[float, ...]:
        _once("number of static_macs", [f"{m:.4g}" for m in macs])  # as precise as their folders' names
        return macs


class ExportSection(_Section):
    """The ONNX file."""

    check_images: PositiveInt = Field(1000, description="test images on which ONNX Runtime must agree with PyTorch")
    tolerance: PositiveFloat = Field(1e-3, description="largest difference of a logit")


class Recipe(_Section):
    """A whole run. `seed` is the seed of everything that has none of its own."""

    seed: int = 0
    data: DataSection = DataSection()
    space: SpaceSection = SpaceSection()
    supernet: SupernetSettings = SupernetSettings()
    hardware: HardwareSection | None = Field(None, description="without it there are no energies and latencies")
    policy: PolicySection
    search: SearchSection = SearchSection()
    finetune: TrainSettings | None = Field(None, description="how the fine-tune evaluator trains a candidate")
    train: TrainSettings = TrainSettings()
    gates: GateSettings | None = Field(
        None, description="NACHOS's training, in place of [train] and [finetune], of networks whose exits have gates"
    )
    deliver: DeliverSection = DeliverSection()
    export: ExportSection = ExportSection()

    @model_validator(mode="before")
    @classmethod
    def _finetune_defaults(cls, values: Any) -> Any:
        """With its evaluator the section is there, so that a run's folder tells the whole schedule."""
        search = values.get("search") if isinstance(values, Mapping) else None
        chosen = search.get("evaluator") if isinstance(search, Mapping) else getattr(search, "evaluator", None)
        return {"finetune": {}, **values} if chosen == "fine-tune" else values

    @model_validator(mode="after")
    def _finetune_has_its_evaluator(self) -> Recipe:
        if self.finetune is not None and self.search.evaluator != "fine-tune":
            raise ValueError(
                f"section [finetune] is of no use with search.evaluator = {self.search.evaluator!r}; "
                'set that to "fine-tune", or drop the section'
            )
        return self

    @property
    def bounds(self) -> tuple[float, float]:
        """Most of the goal's mean cost, and least accuracy in 0..1; by goal or constraint, else infinity and 0."""
        constraints = [Constraint.parse(text) for text in self.search.constraints]
        most = [c.bound for c in constraints if c.metric == self.policy.metric and not c.at_least]
        least = [c.bound for c in constraints if c.metric == "accuracy" and c.at_least]
        least += [1 - c.bound for c in constraints if c.metric == "error" and not c.at_least]
        budget = self.policy.budget
        return budget[1] if budget else min(most, default=inf), self.policy.accuracy or max(least, default=0.0)

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
        """Read a recipe; `overrides` are `section.key=value` with a TOML value.

        Raises:
            RecipeError: with every mistake, by its path.
        """
        text = Path(path).read_text()
        return cls.parse(text, str(path), overrides)

    @classmethod
    def parse(cls, text: str, source: str = "recipe", overrides: Sequence[str] = ()) -> Recipe:
        """Read the text of a recipe; see `load`. What it extends is looked for beside `source`."""
        try:
            values = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(source, [f"not valid TOML: {error}"]) from error
        values = _extended(values, Path(source))
        for override in overrides:
            _override(values, override)
        return cls._check(values, source)

    def to_toml(self) -> str:
        """The whole recipe with every default filled in; `parse` gives back an equal one."""
        import tomli_w

        return tomli_w.dumps(self.model_dump(mode="json", exclude_none=True))

    @classmethod
    def _check(cls, values: dict[str, Any], source: str) -> Recipe:
        problems: list[str] = []
        try:
            recipe = cls.model_validate(values)
        except ValidationError as error:
            problems += _lines(error, ())
        section = values.get("space", {})
        if isinstance(section, dict) and section.get("name", "offramp") in SPACES:
            options = {key: value for key, value in section.items() if key != "name"}
            try:
                options_of(section.get("name", "offramp"), options)
            except ValidationError as error:
                problems += _lines(error, ("space",))
        if not problems:
            problems += _missing_gates(recipe)
            problems += _useless_gates(recipe)
            problems += _missing_device(recipe)
            problems += _missing_target(recipe)
            problems += _thresholds_from_nowhere(recipe)
        if problems:
            raise RecipeError(source, problems)
        return recipe


def _missing_device(recipe: Recipe) -> list[str]:
    """What asks for energy or latency where no device is named, or for energy of an NPU, as lines."""
    hardware = recipe.hardware
    if hardware is not None and not isinstance(find_device(hardware.device).model, NpuModel):
        return []
    asked = {"policy": recipe.policy.metric, **_asked(recipe)}
    asked |= {f"deliver.budgets.{i}": b.budget[0] for i, b in enumerate(recipe.deliver.budgets) if b.budget}
    if hardware is not None:
        return [
            f"{path}: {metric} needs energies, which {hardware.device} does not tell; it has mean_latency_ms"
            for path, metric in asked.items()
            if METRICS[metric].device and metric != "mean_latency_ms"
        ]
    known = ", ".join(name for name in DEVICES if name != "analytic")
    return [
        f"{path}: {metric} needs a device; name one in [hardware] (device = {known}, or a file)"
        for path, metric in asked.items()
        if METRICS[metric].device
    ]


def _missing_target(recipe: Recipe) -> list[str]:
    """What tells how near mean MACs are to a target where there is none, as lines."""
    if recipe.policy.mean_macs is not None:
        return []
    asked = [(path, metric) for path, metric in _asked(recipe).items() if METRICS[metric].target]
    return [f"{path}: {metric} needs the target policy.mean_macs" for path, metric in asked]


def _asked(recipe: Recipe) -> dict[str, str]:
    """Path -> the metric that objectives and constraints name there."""
    search = recipe.search
    found = {f"search.objectives.{i}": name for i, name in enumerate(search.objectives)}
    return found | {f"search.constraints.{i}": Constraint.parse(c).metric for i, c in enumerate(search.constraints)}


def _missing_gates(recipe: Recipe) -> list[str]:
    """The measures that read gates, where the space's exits have none, as lines."""
    asked = [measure for measure in recipe.policy.measures if measure in GATE_MEASURES]
    if not asked or _gated(recipe):
        return []
    return [
        f"policy.measures: {', '.join(asked)} reads the exits' gates, and the exits of space "
        f"{recipe.space.name!r} have none; choose among {', '.join(MEASURES)}, or a space whose exits have gates"
    ]


def _useless_gates(recipe: Recipe) -> list[str]:
    """A section [gates] for a space whose exits have none, as a line."""
    if recipe.gates is None or _gated(recipe):
        return []
    return [f"gates: the exits of space {recipe.space.name!r} have no gates; drop the section"]


def _thresholds_from_nowhere(recipe: Recipe) -> list[str]:
    """A way to set thresholds that lacks what it needs, as a line."""
    if recipe.policy.thresholds == "genes" and not any("threshold" in gene.name for gene in _space(recipe).genes):
        return [f"policy.thresholds: space {recipe.space.name!r} has no thresholds among its genes; choose another way"]
    if recipe.policy.thresholds == "repair" and recipe.bounds[0] == inf:
        metric = recipe.policy.metric
        return [
            f"policy.thresholds: 'repair' lowers thresholds until a bound on {metric} is met, and there is none; "
            f'give policy.{metric}, or a constraint "{metric} <= NUMBER"'
        ]
    policy = recipe.policy
    if policy.thresholds == "grid" and (policy.mean_macs is None or policy.measures != ("margin",)):
        given = f"goal {policy.metric if policy.budget else 'accuracy'} and measures {', '.join(policy.measures)}"
        return [
            "policy.thresholds: 'grid' scores margins against a target of mean MACs; give policy.mean_macs, and "
            f'measures = ["margin"] alone (given: {given})'
        ]
    return []


def _gated(recipe: Recipe) -> bool:
    """Whether the space's exits have gates."""
    return _space(recipe).largest().gated


def _space(recipe: Recipe) -> SearchSpace:
    """The space for some images: their shape is not known yet, and neither gates nor genes' names depend on it."""
    return space(recipe.space.name, (3, 32, 32), 10, **recipe.space.options)


def shipped() -> dict[str, Path]:
    """The recipes that come with Offramp, by name."""
    inside = Path(__file__).parent / "recipes"
    folder = inside if inside.is_dir() else Path(__file__).parents[2] / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def find(name: str) -> Path:
    """The file of a recipe given by its path, or by the name of one that comes with Offramp.

    Raises:
        RecipeError: there is neither.
    """
    if Path(name).is_file():
        return Path(name)
    if name in shipped():
        return shipped()[name]
    raise RecipeError(name, [f"no such file, and no recipe of that name; known are {', '.join(shipped())}"])


def _extended(values: dict[str, Any], path: Path, chain: Sequence[Path] = ()) -> dict[str, Any]:
    """`values` laid over those of the recipe that their `extends` names, which may itself extend another one.

    Raises:
        RecipeError: there is no such recipe, it is not valid TOML, or it extends, in the end, itself.
    """
    if "extends" not in values:
        return values
    name, chain = values["extends"], (*chain, path.resolve())
    if not isinstance(name, str):
        raise RecipeError(str(path), [f"extends: {name!r} is not the name or path of a recipe"])
    try:
        base = find(str(path.parent / name) if (path.parent / name).is_file() else name)
        found = tomllib.loads(base.read_text())
    except RecipeError as error:
        raise RecipeError(str(path), [f"extends: {name}: {error.problems[0]}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(str(path), [f"extends: {base} is not valid TOML: {error}"]) from error
    if base.resolve() in chain:
        circle = " -> ".join(part.stem for part in (*chain, base))
        raise RecipeError(str(path), [f"extends: a circle, {circle}"])
    return _merged(_extended(found, base, chain), {key: value for key, value in values.items() if key != "extends"})


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` laid over `base`: sections key by key, anything else (lists too) whole."""
    found = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(found.get(key), Mapping)
        found[key] = _merged(found[key], value) if both else value
    return found


def differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Paths at which two recipes differ, with both values."""
    found = []
    for key in sorted({*old, *new}):
        was, now = old.get(key), new.get(key)
        if isinstance(was, Mapping) and isinstance(now, Mapping):
            found += differences(was, now, f"{prefix}{key}.")
        elif was != now:
            found.append(f"{prefix}{key}: {_short(was)} then, {_short(now)} now")
    return found


def _lines(error: ValidationError, prefix: tuple[str, ...]) -> list[str]:
    found = []
    for item in error.errors():
        path = ".".join(map(str, (*prefix, *item["loc"]))) or "recipe"
        given = "" if item["type"] in ("missing", "value_error") else f" (given: {_short(item['input'])})"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "extra_forbidden":
            message = "there is no such key; check its spelling against `offramp init`"
        found.append(f"{path}: {message}{given}")
    return found


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _override(values: dict[str, Any], override: str) -> None:
    path, separator, text = override.partition("=")
    keys = [key.strip() for key in path.split(".")]
    if not separator or not all(keys):
        raise RecipeError("--set", [f"{override!r} is not of the form section.key=value"])
    try:
        value = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        value = text.strip()  # a bare word is a string: --set data.name=digits
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, Mapping):
            raise RecipeError("--set", [f"{override!r}: {key} is a value, not a section"])
    values[keys[-1]] = value
