"""The known layouts of files."""
