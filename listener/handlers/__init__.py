"""What the user wrote: task modules, imported and checked before anything runs."""

from listener.handlers.body import read_body
from listener.handlers.handler import Handler, handler, load

__all__ = ["Handler", "handler", "load", "read_body"]
