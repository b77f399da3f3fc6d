"""The same results from NVIDIA GPUs: arrays taken where they lie, kernels launched, hard rows left to the CPU.

It may import `emdref.closed_form` and `emdref.entropic`, whose twin it is.  CUDA is imported when a call needs it.
"""
