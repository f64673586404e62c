"""One domain, live: measured by the survey's own scans, so that the verdict is the survey's.

`measure` runs the scans, `document` makes of their rows the JSON that docs/check.md
describes, `explanation` finds causes and repairs, `advice` has the sentences, `terminal`
prints. Nothing is stored.
"""
