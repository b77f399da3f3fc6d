"""emdref: ground truth for the Earth Mover's Distance as a loss on chains, trees and circles.

Exact values, gradients and flows with a reason to trust them, and the Sinkhorn distance exactly as deep-learning
frameworks run it.  Papers: arXiv 1611.07573 and its ICML 2016 workshop precursor.

Losses to train with are in `emdref.torch` and `emdref.jax`, which need the extras of that name and are imported by
themselves.
"""

from emdref import casebook, exact, fallback, losses, normalize
from emdref.entropic.results import SinkhornResult
from emdref.functions.barycenter import barycenter
from emdref.functions.emd import emd, emd_cost_grad, emd_grad, emd_value_and_grad, flow
from emdref.functions.hessian import emd_hess, emd_hvp
from emdref.functions.pairwise import pairwise
from emdref.functions.plan import plan
from emdref.functions.sinkhorn import sinkhorn
from emdref.functions.unifrac import unifrac
from emdref.proof.barycenter_certificate import BarycenterCertificate, certify_barycenter
from emdref.proof.certificate import Certificate, certify
from emdref.proof.check import check
from emdref.proof.report import Report
from emdref.proof.sinkhorn_certificate import SinkhornCertificate, certify_sinkhorn
from emdref.proof.sinkhorn_check import check_sinkhorn
from emdref.proof.sinkhorn_report import SinkhornReport
from emdref.spaces import Chain, Circle, Edges, Kernel, Space, Tree, wordnet_tree

__version__ = "0.2.0"

__all__ = [
    "BarycenterCertificate",
    "Certificate",
    "Chain",
    "Circle",
    "Edges",
    "Kernel",
    "Report",
    "SinkhornCertificate",
    "SinkhornReport",
    "SinkhornResult",
    "Space",
    "Tree",
    "barycenter",
    "casebook",
    "certify",
    "certify_barycenter",
    "certify_sinkhorn",
    "check",
    "check_sinkhorn",
    "emd",
    "emd_cost_grad",
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
    "unifrac",
    "wordnet_tree",
]
