"""The words of foreign exchange. Standard library and numpy only."""
