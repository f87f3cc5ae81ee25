"""What the figures of the documentation come from; `python -m benchmarks` lists it.

* `speed`: time, memory, bytes. Needs no data.
* `evidence`: what methods reach, and other people's code.
* `research`: what is still open; `RESEARCH.md` is the log.

Rows and tables are in `results/`.
"""
