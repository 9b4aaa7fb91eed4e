"""What files from elsewhere can do to whoever opens them."""
