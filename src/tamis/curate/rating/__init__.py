"""Ratings by LLM judges: rubric, prompts, replies that are never paid twice, and how far to trust each judge."""

from tamis.curate.rating.handover import ratings_of_run, scale_of_run
from tamis.curate.rating.rate import Rating, rate
from tamis.curate.rating.rubric import Criterion, Rubric
from tamis.curate.rating.settings import RatingLimits, RatingSettings

__all__ = [
    "Criterion",
    "Rating",
    "RatingLimits",
    "RatingSettings",
    "Rubric",
    "rate",
    "ratings_of_run",
    "scale_of_run",
]
