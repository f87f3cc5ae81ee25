"""Reports: what a run wrote, read for people. Nothing of a run is changed.

* `files`: their names. * `metrics`: the events of a run.
* `curve`, `summary`: of one run. * `comparison`, `comparison_plot`: of several.
* `tables`: rows of cells as text, CSV, Markdown and LaTeX.
* `trackers`: other programs that show runs.
"""

from loren_jax.reports.comparison import comparison_rows, comparison_table, group_runs, read_runs
from loren_jax.reports.comparison_plot import plot_comparison
from loren_jax.reports.curve import plot_curve
from loren_jax.reports.metrics import read_metrics
from loren_jax.reports.summary import Summary, summary_text
from loren_jax.reports.tables import Spread, text_table, write_table
from loren_jax.reports.trackers import TensorBoard, WeightsAndBiases

__all__ = [
    "Spread", "Summary", "TensorBoard", "WeightsAndBiases", "comparison_rows", "comparison_table",
    "group_runs", "plot_comparison", "plot_curve", "read_metrics", "read_runs", "summary_text",
    "text_table", "write_table",
]  # fmt: skip
