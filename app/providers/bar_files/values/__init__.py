"""The values in the fields of a row, read one by one or a column at a time."""
