"""What holds for every answer, whichever endpoint gives it."""
