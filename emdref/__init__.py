"""emdref: ground truth for the Earth Mover's Distance as a loss on chains, trees and circles.

Exact values, gradients and flows with a reason to trust them, and the Sinkhorn distance exactly as deep-learning
frameworks run it.  Papers: arXiv 1611.07573 and its ICML 2016 workshop precursor.

Losses to train with are in `emdref.torch` and `emdref.jax`, which need the extras of that name and are imported by
themselves.

What has a name here is imported when it is first asked for, so that a program waits for no more than it uses.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

__version__ = "0.5.0"

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

_MODULES = {
    "emdref.entropic.results": ("SinkhornResult",),
    "emdref.functions.barycenter": ("barycenter",),
    "emdref.functions.emd": (
        "emd",
        "emd_cost_grad",
        "emd_grad",
        "emd_value_and_grad",
        "flow",
    ),
    "emdref.functions.hessian": (
        "emd_hess",
        "emd_hvp",
    ),
    "emdref.functions.pairwise": ("pairwise",),
    "emdref.functions.plan": ("plan",),
    "emdref.functions.sinkhorn": ("sinkhorn",),
    "emdref.functions.unifrac": ("unifrac",),
    "emdref.proof.barycenter_certificate": (
        "BarycenterCertificate",
        "certify_barycenter",
    ),
    "emdref.proof.certificate": (
        "Certificate",
        "certify",
    ),
    "emdref.proof.check": ("check",),
    "emdref.proof.report": ("Report",),
    "emdref.proof.sinkhorn_certificate": (
        "SinkhornCertificate",
        "certify_sinkhorn",
    ),
    "emdref.proof.sinkhorn_check": ("check_sinkhorn",),
    "emdref.proof.sinkhorn_report": ("SinkhornReport",),
    "emdref.spaces": (
        "Chain",
        "Circle",
        "Edges",
        "Kernel",
        "Space",
        "Tree",
        "wordnet_tree",
    ),
}
_FOLDERS = {"arguments", "closed_form", "entropic", "functions", "gpu", "kernels", "proof", "spaces"}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    """What is public, from the module that it lives in; that module itself; or a folder."""
    if name not in __all__ and name not in _FOLDERS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name) if name in _HOMES else import_module(f"{__name__}.{name}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
