"""Provenance that can be checked: who made an avatar and what was done to it, and what was withdrawn."""
