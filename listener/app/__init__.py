"""The daemon: opens the edges, builds the stages, and runs them in one TaskGroup until it is told to stop."""

from listener.app.attester import attend
from listener.app.lifetime import run
from listener.app.performer import build
from listener.app.rewinding import rewind
from listener.app.stage import Stage, keep, serve

__all__ = ["Stage", "attend", "build", "keep", "rewind", "run", "serve"]
