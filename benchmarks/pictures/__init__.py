"""Instruments of the picture: how sharp, how faithful, how it drifts, what training brings."""
