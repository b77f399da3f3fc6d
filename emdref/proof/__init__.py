"""Reasons to trust a number: certificates that anybody can verify, bounds, and `check` of implementations by others.

It may import all that computes, `emdref.functions` included; only the losses for frameworks stand above.
"""
