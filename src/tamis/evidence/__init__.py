"""Evidence: metrics before and after, never without their uncertainty."""

from tamis.evidence.evidence import Evidence, mean_interval

__all__ = ["Evidence", "mean_interval"]
