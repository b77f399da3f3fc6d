"""How formulas become machine code, where that is kept, and how rows are dealt to threads.  Imports no formula."""
