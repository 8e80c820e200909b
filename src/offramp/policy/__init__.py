"""Policies: when a sample leaves, found on a table of scores. Numpy only."""

from offramp.policy.confidence import CERTAIN as CERTAIN
from offramp.policy.confidence import GATE_MEASURES as GATE_MEASURES
from offramp.policy.confidence import MEASURES as MEASURES
from offramp.policy.confidence import confidence as confidence
from offramp.policy.curve import Curve as Curve
from offramp.policy.curve import Point as Point
from offramp.policy.curve import curve as curve
from offramp.policy.goal import Goal as Goal
from offramp.policy.policy import Operation as Operation
from offramp.policy.policy import Policy as Policy
from offramp.policy.policy import operate as operate
from offramp.policy.repair import Repaired as Repaired
from offramp.policy.repair import repair as repair
from offramp.policy.repair import shared_threshold as shared_threshold
from offramp.policy.table import ScoreTable as ScoreTable
from offramp.policy.tuner import Tuned as Tuned
from offramp.policy.tuner import tune as tune
