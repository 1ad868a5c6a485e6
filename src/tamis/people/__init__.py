"""People: which workers of a crowd can be trusted, and what is left without those that cannot.

A score is evidence about answers, never proof about a person.
"""

from tamis.people.peer import PeerPrediction
from tamis.people.simulation import Rates, Simulation, simulate

__all__ = ["PeerPrediction", "Rates", "Simulation", "simulate"]
