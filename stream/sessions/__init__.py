"""Who is live and who watches: presenters, viewers, how many fit, what is counted."""
