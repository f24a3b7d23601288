"""The database: recording, retention and job runs, over packages of queries by subject."""
