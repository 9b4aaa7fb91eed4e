"""What is added to the motion of whatever drives: where the eyes look."""
