"""Instruments of the network alone: what it costs here, and beside what others run."""
