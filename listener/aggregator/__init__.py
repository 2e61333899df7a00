"""The edge to the aggregator: ``sendTask`` over JSON-RPC."""

from listener.aggregator.aggregator import Aggregator

__all__ = ["Aggregator"]
