"""Curating training records: which to keep, given measurements that cannot all be trusted."""

from tamis.curate.ds2 import DS2
from tamis.curate.scale import RatingScale

__all__ = ["DS2", "RatingScale"]
