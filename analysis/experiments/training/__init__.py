"""Training: runs that can be killed and taken up again, each in a process of its own, and means over their seeds.

What is trained is handed in.  Imports `engine` alone.
"""
