"""Answers attesters: which task judges a claim, and what is said of it. Who listens to them is in ``web/``."""

from listener.attester.answer import Answer
from listener.attester.attester import Attester, Definition

__all__ = ["Answer", "Attester", "Definition"]
