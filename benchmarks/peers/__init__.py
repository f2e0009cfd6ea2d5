"""KAN layers of other libraries, each timed by a script in that library's Python."""
