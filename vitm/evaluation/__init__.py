"""Evaluation: predicted HDR files against true ones, opened in pairs, measured as a stream, reported."""

from vitm.evaluation.evaluate import evaluate
from vitm.evaluation.pairs import MismatchError
from vitm.evaluation.summary import ClipSummary, MetricSummary, Summary

__all__ = ["ClipSummary", "MetricSummary", "MismatchError", "Summary", "evaluate"]
