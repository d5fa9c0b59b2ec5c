"""The entropy law `R = b - a * exp(H)`: fit, intervals, verdict and forecast (arXiv 2505.22617). No torch."""

from .fit import LawFit, fit_entropy_law
from .forecast import LawForecast, forecast_entropy_law


__all__ = ["LawFit", "LawForecast", "fit_entropy_law", "forecast_entropy_law"]
