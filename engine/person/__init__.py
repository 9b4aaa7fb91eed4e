"""A person in numbers: landmarks, and pose, motion and proportions measured on them. No pictures."""
