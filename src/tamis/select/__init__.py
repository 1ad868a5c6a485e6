"""Decisions about units, with score and reason: the artefact that methods hand to each other."""

from tamis.select.selection import DECISIONS, Selection

__all__ = ["DECISIONS", "Selection"]
