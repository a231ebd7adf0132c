"""The study file: every key with its type, bounds, default and meaning.

In: a YAML file. Out: a `Study`, of which rules hand each script the sections that it needs. Read `study` and the
sections that it imports; `loading` reads a file with one clear line per mistake, `names` checks what refers to what,
`documentation` generates config/README.md and the JSON schema.

No result depends on these modules beyond the values in a job's spec, so they are no part of a job's code hash.
"""
