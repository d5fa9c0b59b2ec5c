"""Figures: files or numbers in, PNG and SVG out. No torch, no network, no global matplotlib state."""
