"""Connections: offers and answers, ICE and its servers, what aiortc is tuned to."""
