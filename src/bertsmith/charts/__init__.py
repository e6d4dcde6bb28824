"""Curves, matrices and scatters as SVG, and the frame of a static page."""
