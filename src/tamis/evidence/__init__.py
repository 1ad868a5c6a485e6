"""Evidence: metrics before and after, never without their uncertainty."""

from tamis.evidence.evidence import Evidence, mean_interval
from tamis.evidence.krippendorff import krippendorff_alpha, krippendorff_interval
from tamis.evidence.ranking import auroc

__all__ = ["Evidence", "auroc", "krippendorff_alpha", "krippendorff_interval", "mean_interval"]
