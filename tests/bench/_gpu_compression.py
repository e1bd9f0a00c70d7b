"""The rows of bench-compression that need a GPU."""

from bench._table import Row


def rows_of_a_gpu() -> tuple[list[Row], str]:
    return [], "The rows of a GPU are left out: no kernels for one yet."
