"""What each user of the journal may do with it: one file for each of them, on a common ground."""
