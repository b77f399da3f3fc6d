"""Training experiments: runs that can be killed and taken up again, each in a process of its own."""
