"""The performance report: every stage beside a peer and the machine's limits, in one run.

``python -m benchmarks.performance`` writes ``docs/performance.md``.
"""
