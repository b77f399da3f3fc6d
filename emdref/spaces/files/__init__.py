"""Trees out of files and texts, and as text.

`reader` finds out what a file is; `newick` (with `nexus`), `tables`, `json_trees` and `archives` read it, `newick_text`
writes.  All give `parts.Parts`, from which `emdref.Tree` makes a tree.  A ValueError names the place in the file, its
value and the way out; who calls adds the file.  Nothing here knows Tree, and nothing is needed beyond NumPy.
"""
