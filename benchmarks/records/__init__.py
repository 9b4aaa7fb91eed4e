"""How an instrument is run and recorded, how records are compared, and the tables made of them."""
