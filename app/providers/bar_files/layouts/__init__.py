"""The layouts of files, by the family they belong to."""
