"""Enrolment from the page: prompts, recordings, the jobs that make an avatar of them."""
