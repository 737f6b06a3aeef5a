"""The norm of residuals: Geman and McClure's, about the residuals' own spread."""

from __future__ import annotations

ROBUST_SIGMAS = 3.0
"""Residuals of this many standard deviations weigh a quarter."""
