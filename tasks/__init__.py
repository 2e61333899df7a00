"""The tasks that come with the listener; each is one file, and an example for your own."""
