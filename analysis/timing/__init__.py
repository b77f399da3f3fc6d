"""Speed on a CPU: clocks, memory, processes of their own, what is timed with them, and the targets.

Scripts of several folders share the cells defined here.  Imports `peers`, `inputs` and `engine`.
"""
