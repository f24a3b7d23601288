"""Files as text: unpacked, decoded, and split into lines and fields."""
