"""A torchmetrics metric that computes OPIS during training, with Lightning or without.

>>> from opis_cli.torch import OpisMetric
>>> metric = OpisMetric(max_far=0.001)
>>> for pictures, labels in validation:
...     metric.update(model(pictures), labels)
>>> metric.compute()  # {"opis": ..., "eps_opis": ..., "recall_at_1": ..., "threshold": ...}
>>> metric.reset()

With Lightning, call ``metric.update`` in ``validation_step``. In ``on_validation_epoch_end``, call
``self.log_dict(metric.compute())`` and then ``metric.reset()``.
"""

import dataclasses
import warnings
from contextlib import nullcontext
from typing import Any

from opis_cli.config import merge
from opis_cli.embeddings.clean import Reading, from_arrays
from opis_cli.errors import InputError, MissingExtra, SettingsError
from opis_cli.pipeline import evaluate_embeddings
from opis_cli.report.records import Report
from opis_cli.settings import Settings

try:
    import torch
    import torchmetrics
    from torchmetrics.utilities.distributed import gather_all_tensors
except ImportError:
    raise MissingExtra("opis_cli.torch", "torch") from None


class OpisMetric(torchmetrics.Metric):  # type: ignore[misc]
    """Threshold consistency of the embeddings of an epoch, as ``opis evaluate`` computes it.

    The metric keeps all embeddings until ``reset``, in float32 and on their device. ``compute``
    counts all pairs on that device. With several processes, each process gets the metric of all
    rows. A sampler that repeats rows so that all processes have equally many, as
    ``DistributedSampler`` does, adds pairs at distance 0. To avoid this, give the sampler
    ``drop_last=True``, or a number of rows that the number of processes divides.

    Parameters
    ----------
    **settings
        Fields of ``opis_cli.settings.Settings``, such as ``metric="euclidean"`` or
        ``max_far=1e-4``, except ``engine`` and ``device``. Also the keywords of
        ``torchmetrics.Metric``.

    Raises
    ------
    SettingsError
        A setting is not usable.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, **settings: Any) -> None:
        own = {field.name for field in dataclasses.fields(Settings)} - {"engine", "device"}
        super().__init__(**{key: value for key, value in settings.items() if key not in own})
        chosen = {key: value for key, value in settings.items() if key in own}
        for name in ("group_column", "within_column", "exclude_same", "gallery", "pairs"):
            if chosen.get(name):
                raise SettingsError(f"OpisMetric pairs all rows of a batch by label: no {name}")
        self.settings = merge({}, chosen | {"engine": "torch"})
        self.add_state("embeddings", default=[], dist_reduce_fx="cat")
        self.add_state("labels", default=[], dist_reduce_fx="cat")

    def update(self, embeddings: Any, labels: Any) -> None:
        """Add a batch.

        Parameters
        ----------
        embeddings : Tensor of shape (B, D), floating
        labels : Tensor of shape (B,), integers

        Raises
        ------
        InputError
            A shape or type is not as above.
        """
        if embeddings.ndim != 2 or labels.shape != embeddings.shape[:1]:
            raise InputError(
                f"embeddings have the shape {tuple(embeddings.shape)} and labels "
                f"{tuple(labels.shape)}; wanted (rows, dims) and (rows,)"
            )
        if labels.is_floating_point() or labels.is_complex() or not embeddings.is_floating_point():
            raise InputError(
                f"embeddings are {embeddings.dtype} and labels {labels.dtype}; wanted floats and "
                "integers"
            )
        self.embeddings.append(embeddings.detach().float())
        self.labels.append(labels.detach().long())

    def compute(self) -> dict[str, Any]:
        """Return OPIS, eps-OPIS, recall@1 and the recommended threshold as float64 scalars.

        An undefined value is NaN, such as the threshold if none meets the bounds. If the rows
        cannot be evaluated (too few rows, only one class, values that are not finite), all four
        are NaN and a warning says why. A sanity check of the loop with a few batches therefore
        does not end the training. On Apple's mps devices the scalars are float32.
        """
        found = dict.fromkeys(("opis", "eps_opis", "recall_at_1", "threshold"), float("nan"))
        try:
            report = self._report()
        except InputError as error:
            warnings.warn(f"OpisMetric is NaN: {error}", stacklevel=2)
        else:
            values = {
                "opis": report.opis,
                "eps_opis": report.eps_opis.value,
                "recall_at_1": report.recall_at_1,
                "threshold": report.recommendation.threshold,
            }
            found |= {name: value for name, value in values.items() if value is not None}
        # Apple's mps devices have no float64.
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        return {
            name: torch.tensor(value, dtype=dtype, device=self.device)
            for name, value in found.items()
        }

    def _report(self) -> Report:
        """Evaluate all rows as ``opis evaluate`` does, and count pairs on the rows' device."""
        vectors, labels = self._rows()
        rows = from_arrays(
            vectors.cpu().numpy(),
            labels.cpu().numpy(),
            Reading.of(self.settings),
        )
        on_cuda = vectors.device.type == "cuda"
        settings = dataclasses.replace(self.settings, device="cuda" if on_cuda else "cpu")
        with torch.cuda.device(vectors.device) if on_cuda else nullcontext():
            return evaluate_embeddings(rows, settings).report

    def _rows(self) -> tuple[Any, Any]:
        """Return the embeddings and labels of this process, or of all processes after a sync."""
        if isinstance(self.labels, torch.Tensor):
            return self.embeddings, self.labels
        if not self.labels:
            none = torch.empty(0, 0, device=self.device)
            return none, none.flatten().long()
        return torch.cat(self.embeddings), torch.cat(self.labels)

    def _sync_dist(
        self, dist_sync_fn: Any = gather_all_tensors, process_group: Any | None = None
    ) -> None:
        """Gather the rows of all processes. A process without rows takes part but adds none."""

        def gather(rows: Any, group: Any) -> list[Any]:
            parts = dist_sync_fn(rows, group=group)
            return [part for part in parts if len(part)] or [rows]

        self.embeddings, self.labels = ([rows] for rows in self._rows())
        super()._sync_dist(gather, process_group)
