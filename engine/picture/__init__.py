"""From a target's landmarks to the picture that leaves: step by step on the CPU, or as one graph."""
