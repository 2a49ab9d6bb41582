"""OPIS while training: a metric of torchmetrics, for Lightning and for plain loops.

>>> from opis_cli.torch import OpisMetric
>>> metric = OpisMetric(max_far=0.001)
>>> for pictures, labels in validation:
...     metric.update(model(pictures), labels)
>>> metric.compute()  # {"opis": ..., "eps_opis": ..., "recall_at_1": ..., "threshold": ...}
>>> metric.reset()

In Lightning: ``update`` in ``validation_step``; in ``on_validation_epoch_end``
``self.log_dict(metric.compute())`` and ``metric.reset()``.
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
    """Threshold consistency of the embeddings of an epoch, by the core of ``opis evaluate``.

    Embeddings are kept until ``reset``, where they lie, in float32; all pairs are counted there
    when the metric is computed. With several processes every one of them gets the metric of all
    rows; samplers that repeat rows to even out the processes (as ``DistributedSampler`` does)
    add pairs at distance 0, so give them ``drop_last=True`` or a fitting number of rows.

    Parameters
    ----------
    **settings
        Any of ``opis_cli.settings.Settings`` (``metric="euclidean"``, ``max_far=1e-4``), but for
        ``engine`` and ``device``; and the keywords of ``torchmetrics.Metric``.

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
        """Take in a batch.

        Parameters
        ----------
        embeddings : Tensor of shape (B, D), floating
        labels : Tensor of shape (B,), integers

        Raises
        ------
        InputError
            Shapes or types are not these.
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
        """OPIS, eps-OPIS, recall@1 and the recommended threshold, float64 scalars.

        NaN stands for what is undefined (no threshold meets the bounds), and for all four, with a
        warning that says why, where the rows cannot be evaluated: too few, of one class, not
        finite. So a few batches that only check the loop do not end a training.
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
        # Devices of Apple have no float64.
        dtype = torch.float32 if self.device.type == "mps" else torch.float64
        return {
            name: torch.tensor(value, dtype=dtype, device=self.device)
            for name, value in found.items()
        }

    def _report(self) -> Report:
        """What ``opis evaluate`` says of all rows, counted on the device that holds them."""
        vectors, labels = self._rows()
        rows = from_arrays(
            vectors.cpu().numpy(),
            labels.cpu().numpy(),
            Reading(metric=self.settings.metric, on_bad_rows=self.settings.on_bad_rows),
        )
        on_cuda = vectors.device.type == "cuda"
        settings = dataclasses.replace(self.settings, device="cuda" if on_cuda else "cpu")
        with torch.cuda.device(vectors.device) if on_cuda else nullcontext():
            return evaluate_embeddings(rows, settings).report

    def _rows(self) -> tuple[Any, Any]:
        """All embeddings of this process, or of all once they are gathered, and their labels."""
        if isinstance(self.labels, torch.Tensor):
            return self.embeddings, self.labels
        if not self.labels:
            none = torch.empty(0, 0, device=self.device)
            return none, none.flatten().long()
        return torch.cat(self.embeddings), torch.cat(self.labels)

    def _sync_dist(
        self, dist_sync_fn: Any = gather_all_tensors, process_group: Any | None = None
    ) -> None:
        """Gather the rows of all processes; those without any take part, and count for nothing."""

        def gather(rows: Any, group: Any) -> list[Any]:
            parts = dist_sync_fn(rows, group=group)
            return [part for part in parts if len(part)] or [rows]

        self.embeddings, self.labels = ([rows] for rows in self._rows())
        super()._sync_dist(gather, process_group)
