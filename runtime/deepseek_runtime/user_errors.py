"""What went wrong in user code, in words for the person who wrote it: their file and line, no traceback of ours."""

import traceback
from collections.abc import Iterable
from pathlib import Path

import torch

_OURS = Path(__file__).parent


def describe_user_error(error: BaseException, user_files: Iterable[str | Path] = ()) -> str:
    """`train.py, line 12, in loss: ValueError: ...`.

    user_files: files or folders of the job's code; the innermost frame in one of them is named. Without any, the
    innermost frame outside this package and outside installed libraries.
    """
    said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, torch.cuda.OutOfMemoryError):
        said = ". ".join(str(error).splitlines()[0].split(". ")[:2]).rstrip(".")
        said = (
            f"out of GPU memory: {said}. Lower training.batchSize, set "
            "training.precision.compute to float16, or give the workers a larger GPU"
        )
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}, line {error.lineno}: {type(error).__name__}: {error.msg}"
    frame = _frame(error, [Path(path).resolve() for path in user_files])
    if frame is None:
        return said
    place = f"{Path(frame.filename).name}, line {frame.lineno}"
    if frame.name != "<module>":
        place += f", in {frame.name}"
    return f"{place}: {said}"


def _frame(error: BaseException, user_files: list[Path]) -> traceback.FrameSummary | None:
    frames = list(reversed(traceback.extract_tb(error.__traceback__)))
    for frame in frames:
        path = Path(frame.filename).resolve()
        if any(path == own or own in path.parents for own in user_files):
            return frame
    for frame in frames:
        path = Path(frame.filename).resolve()
        installed = {"site-packages", "dist-packages"} & set(path.parts) or frame.filename.startswith("<")
        if not installed and _OURS not in path.parents and path.exists():
            return frame
    return None
