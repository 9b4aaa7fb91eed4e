"""From a presenter's pictures to the avatar's: one performer each, pipelines kept warm."""
