"""The main job: train an ensemble, analyse it, write a report."""

from kanjax.study.config import Config, StudyError
from kanjax.study.job import TrainingDiverged, run
from kanjax.study.models import MODELS
from kanjax.study.prediction import cascade, prediction_table
from kanjax.study.store import Predictions, Study, load

__all__ = [
    "MODELS",
    "Config",
    "Predictions",
    "Study",
    "StudyError",
    "TrainingDiverged",
    "cascade",
    "load",
    "prediction_table",
    "run",
]
