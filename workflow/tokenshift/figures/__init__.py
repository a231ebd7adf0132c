"""What the figures share; each figure is a script of its own under workflow/scripts/figures.

In: a table of the same name. Out: PDF, PNG, and a CSV of exactly what is drawn. Read `style` (how every figure is
made), then `sweeps` (the looks of switching rules, and curves over the share of replaced tokens).
"""
