"""What is kept: the database and everything asked of it."""
