"""How good an avatar is: against held-out frames, baselines and the driver; reports."""
