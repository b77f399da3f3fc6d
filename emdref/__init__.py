"""emdref: ground truth for the Earth Mover's Distance as a loss on chains and trees.

Exact values, gradients and flows with a reason to trust them, and the Sinkhorn distance exactly as deep-learning
frameworks run it.  Papers: arXiv 1611.07573 and its ICML 2016 workshop precursor.

Losses to train with are in `emdref.torch` and `emdref.jax`, which need the extras of that name and are imported by
themselves.
"""

from emdref import casebook, exact, fallback, losses, normalize
from emdref._version import __version__ as __version__
from emdref.certificate import Certificate, certify
from emdref.check import check
from emdref.emd import emd, emd_grad, emd_value_and_grad, flow
from emdref.hessian import emd_hess, emd_hvp
from emdref.iteration import SinkhornResult
from emdref.pairwise import pairwise
from emdref.plan import plan
from emdref.report import Report
from emdref.sinkhorn import sinkhorn
from emdref.sinkhorn_certificate import SinkhornCertificate, certify_sinkhorn
from emdref.spaces import Chain, Tree
from emdref.wordnet import wordnet_tree

__all__ = [
    "Certificate",
    "Chain",
    "Report",
    "SinkhornCertificate",
    "SinkhornResult",
    "Tree",
    "casebook",
    "certify",
    "certify_sinkhorn",
    "check",
    "emd",
    "emd_grad",
    "emd_hess",
    "emd_hvp",
    "emd_value_and_grad",
    "exact",
    "fallback",
    "flow",
    "losses",
    "normalize",
    "pairwise",
    "plan",
    "sinkhorn",
    "wordnet_tree",
]
