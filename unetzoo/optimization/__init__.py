"""Inference at the speed that the machine allows: exact rewrites, installed backends, measured choice."""

from unetzoo.optimization.backend import Backend, BuildOptions
from unetzoo.optimization.choosing import optimize
from unetzoo.optimization.model import OptimizedModel
from unetzoo.optimization.report import OptimizationReport

__all__ = ["Backend", "BuildOptions", "OptimizationReport", "OptimizedModel", "optimize"]
