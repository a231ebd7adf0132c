"""What a finished study says, in words from its tables: at the end of a run, and on the first page of its report.

Read by the process that runs the workflow, so nothing here imports anything heavy.
"""
