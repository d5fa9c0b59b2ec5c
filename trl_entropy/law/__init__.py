"""The entropy law `R = b - a * exp(H)`: fit, intervals, verdict and forecast (arXiv 2505.22617). No torch."""

from .fit import LawFit, fit_entropy_law
from .forecast import LawForecast, forecast_entropy_law
from .paper import PAPER_CURVES, PaperCurve


__all__ = [
    "PAPER_CURVES",
    "LawFit",
    "LawForecast",
    "PaperCurve",
    "fit_entropy_law",
    "forecast_entropy_law",
]
