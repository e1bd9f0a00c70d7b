"""Manifests as text: a small right one, and changes to it by line."""

from pathlib import Path

import pytest

from deepseek_operator.api.load import parse_manifest
from deepseek_operator.api.problems import ManifestError, Problem
from deepseek_runtime.contract.exit_codes import CONFIG

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


def refused(text: str, message: str, folder: Path) -> Problem:
    """The one problem of job.yaml in `folder`, told in exactly that message."""
    with pytest.raises(ManifestError) as caught:
        parse_manifest(text, "job.yaml", folder)
    assert str(caught.value) == message
    assert caught.value.exit_code == CONFIG
    (problem,) = caught.value.problems
    return problem
