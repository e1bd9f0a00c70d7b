"""Manifests as text: a small right one, and changes to it by line."""

HEAD = """\
apiVersion: deepseek.dev/v1alpha1
kind: DeepseekJob
metadata:
  name: digits
spec:
"""
TRAINING = """\
  training:
    task: deepseek_runtime.tasks.digits:Digits
    steps: 100
"""
RIGHT = HEAD + TRAINING


def with_training(*lines: str) -> str:
    """The right manifest with lines added to spec.training; the first of them is line 9."""
    return RIGHT + "".join(f"    {line}\n" for line in lines)


def with_spec(*lines: str) -> str:
    """The right manifest with lines added to spec; the first of them is line 9."""
    return RIGHT + "".join(f"  {line}\n" for line in lines)
