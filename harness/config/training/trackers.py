"""Trackers that transformers reports to: the packages they need, and where they keep their files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from harness.errors import nearest, quoted
from harness.package import needs

TRACKERS: dict[str, tuple[str, ...]] = {
    "azure_ml": ("azureml",),
    "clearml": ("clearml",),
    "codecarbon": ("codecarbon",),
    "comet_ml": ("comet_ml",),
    "dagshub": ("dagshub", "mlflow"),
    "dvclive": ("dvclive",),
    "flyte": ("flytekit",),
    "kubeflow": (),
    "mlflow": ("mlflow",),
    "neptune": ("neptune",),
    "swanlab": ("swanlab",),
    "tensorboard": ("tensorboard",),
    "trackio": ("trackio",),
    "wandb": ("wandb",),
}
"""Name in `report_to` -> packages that its callback imports (transformers 5.23)."""

TRACKER_KEYS = {
    "wandb": "WANDB_API_KEY",
    "comet_ml": "COMET_API_KEY",
    "swanlab": "SWANLAB_API_KEY",
}
"""Variable that holds the key of a tracker's service."""

EXTRAS = ("mlflow", "tensorboard", "trackio", "wandb")
"""Those that pyproject.toml has an extra for."""


def unknown_tracker(name: str) -> str | None:
    """What is wrong with a name in `report_to`; None when it is known."""
    if name in TRACKERS:
        return None
    return (
        f"{quoted(repr(name))} is no tracker{nearest(name, TRACKERS)}; known: {', '.join(TRACKERS)}"
    )


def missing_packages(names: Iterable[str]) -> dict[str, str]:
    """Tracker -> how to install it, for those whose packages this Python does not find."""
    from importlib.util import find_spec

    missing = {}
    for name in names:
        absent = [package for package in TRACKERS.get(name, ()) if find_spec(package) is None]
        if absent:
            ours = f"{needs(name)} or "
            missing[name] = f"{ours if name in EXTRAS else ''}pip install {' '.join(absent)}"
    return missing


def tracker_variables(names: Iterable[str], folder: Path, run: str, project: str) -> dict[str, str]:
    """Environment variables by which trackers write below `folder` and go on after a restart.

    `run` identifies the run in wandb, where a restarted job joins it again ("": a new one each
    time); `project` is the tracker's project or experiment ("": its own default). What the user
    has set stays, so these are defaults only.
    """
    found: dict[str, str] = {}
    for name in names:
        if name == "tensorboard":
            found["TENSORBOARD_LOGGING_DIR"] = str(folder / "tensorboard")
        elif name == "wandb":
            found["WANDB_DIR"] = str(folder)
            found |= {"WANDB_RUN_ID": run, "WANDB_RESUME": "allow"} if run else {}
            found |= {"WANDB_PROJECT": project} if project else {}
        elif name == "mlflow":
            # A file store is refused since MLflow 3.
            found["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder / 'mlflow.db'}"
            found |= {"MLFLOW_EXPERIMENT_NAME": project} if project else {}
        elif name == "trackio":
            found["TRACKIO_DIR"] = str(folder / "trackio")
    return found
