"""Files as text: decompressed, decoded, and split into lines and fields."""
