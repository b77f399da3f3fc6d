"""Build the table of human label sets (ReaL) of the ILSVRC2012 validation images.

    python -m analysis.sources.real_labels IMAGENET_REAL_LABELS_JSON [--out analysis/data/real_labels.csv]

Several people saw several classes in the same image: real targets that are neither one-hot nor invented. Only sets of
two or more labels are kept, each once with the number of its images, since a set of one is a one-hot target. Source:
``timm/data/_info/imagenet_real_labels.json`` of ``timm`` on PyPI.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

ILSVRC_CLASSES = 1000
VALIDATION_IMAGES = 50_000
OUT = Path(__file__).parents[1] / "data" / "real_labels.csv"
HEADER = ("labels", "images")
GET_LABELS = "take timm/data/_info/imagenet_real_labels.json, from timm on PyPI"


def is_label_set(labels, n_classes):
    """Say whether `labels` is a list of distinct class indices."""
    return (
        isinstance(labels, list)
        and all(type(label) is int and 0 <= label < n_classes for label in labels)
        and len(set(labels)) == len(labels)
    )


def read(path, n_classes, n_images=None):
    """Read the label sets, one an image.

    Parameters
    ----------
    path : path-like
        JSON: a list with a list of class indices for each image.
    n_classes : int
        Indices run from 0 to ``n_classes - 1``.
    n_images : int, optional
        How many images there must be.

    Returns
    -------
    list of list of int

    Raises
    ------
    ValueError
        If the file is not that.
    """
    try:
        images = json.loads(Path(path).read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path}: not JSON: {error}; {GET_LABELS}") from None
    if not isinstance(images, list) or n_images not in (None, len(images)):
        found = f"{len(images)} images" if isinstance(images, list) else "no list"
        raise ValueError(f"{path}: {found}, expected a list of {n_images or 'all'} images; {GET_LABELS}")
    for number, labels in enumerate(images, 1):
        if not is_label_set(labels, n_classes):
            raise ValueError(
                f"{path}, image {number}: {str(labels)[:40]} is not a list of distinct classes 0..{n_classes - 1}; "
                + GET_LABELS
            )
    return images


def build(path, n_classes=ILSVRC_CLASSES, n_images=None):
    """Count the distinct sets of two or more labels.

    Parameters
    ----------
    path, n_classes, n_images
        As of `read`.

    Returns
    -------
    list of (tuple of int, int)
        Labels in ascending order and the number of images that carry them; the most frequent set first, then by
        labels.
    """
    counts = Counter(tuple(sorted(labels)) for labels in read(path, n_classes, n_images) if len(labels) > 1)
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def write(rows, path):
    """Write the rows as CSV, labels separated by spaces, under a line of column names."""
    lines = [",".join(HEADER), *(f"{' '.join(map(str, labels))},{images}" for labels, images in rows)]
    Path(path).write_text("\n".join(lines) + "\n", "utf-8", newline="\n")


def main(argv=None):
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m analysis.sources.real_labels", description=__doc__.split("\n")[0])
    parser.add_argument("imagenet_real_labels_json", help="the label sets of the 50,000 validation images")
    parser.add_argument("--out", default=OUT, help="the table (default: the packaged one)")
    args = parser.parse_args(argv)
    try:
        rows = build(args.imagenet_real_labels_json, ILSVRC_CLASSES, VALIDATION_IMAGES)
        write(rows, args.out)
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"{args.out}: {len(rows)} label sets, {sum(images for _, images in rows)} images")


if __name__ == "__main__":
    main()
