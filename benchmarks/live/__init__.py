"""Instruments of the live server, with the callers, servers and links that they put around it."""
