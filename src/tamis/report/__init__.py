"""The report of a run: one HTML page that needs no network, no script and no pool."""

from tamis.report.page import write_report
from tamis.report.section import Section

__all__ = ["Section", "write_report"]
