"""Fits the network to a person, from base weights; distils it into fewer steps."""
