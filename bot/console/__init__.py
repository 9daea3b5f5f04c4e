"""The local front end: a prompt to type cells at, and the same without a terminal."""
