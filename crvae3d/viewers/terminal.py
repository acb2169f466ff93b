"""The figures of runs as a table on the terminal."""

from crvae3d.evaluation.robustness import flat
from crvae3d.viewers.explained import explain


def print_table(figures: dict[str, dict[str, object]]) -> None:
    """The figures that matter most, a column a run, on standard output; alarms below."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(title="frozen codes")
    table.add_column("")
    for name in figures:
        table.add_column(escape(name), justify="right")
    numbers = [flat(one) for one in figures.values()]
    for key in (key for key in SHOWN if any(key in one for one in numbers)):
        told = explain(key)
        values = [told.show(one.get(key)) for one in numbers]
        table.add_row(f"{told.title}{f' ({told.unit})' if told.unit else ''}", *values)
    console = Console()
    if not console.is_terminal:  # a file holds the columns of any number of runs
        console.width = 10_000
    console.print(table)
    for name, one in figures.items():
        for alarm in one.get("alarms", ()):
            console.print(f"[bold red]{escape(f'{name}: {alarm}')}[/]")


SHOWN = (
    "svm_accuracy",
    "svm_accuracy_pooled",
    "svm_literature",
    "untrained_accuracy",
    "untrained_accuracy_pooled",
    "occupancy_accuracy",
    "pixels_accuracy",
    "robust/azimuth",
    "untrained_robust/azimuth",
    "robust/so3",
    "untrained_robust/so3",
    "robust/thin",
    "untrained_robust/thin",
    "knn_accuracy",
    "untrained_knn_accuracy",
    "few_shot_10_10",
    "retrieval_map",
    "nmi",
    "chamfer",
    "mean_squared_error",
    "log_likelihood_1000",
    "nll_1000",
    "nll_error",
    "nld_1000",
    "nld_error",
    "n_sampled",
    "bits_per_dimension",
    "consistency_gap",
    "consistency_shift",
    "active_units",
)
