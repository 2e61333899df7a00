"""The edge to the chains: endpoints, JSON-RPC, headers and logs. Nothing here decides what is a task."""

from listener.chains.chain import Chain
from listener.chains.finder import Finder
from listener.chains.reader import Reader
from listener.chains.wire import LogQuery

__all__ = ["Chain", "Finder", "LogQuery", "Reader"]
