"""The study file: typed (`study`), read with helpful errors (`loading`), documented (`reference`)."""

from tokenshift.config.loading import load_study
from tokenshift.config.study import Study

__all__ = ["Study", "load_study"]
