"""Sources to resumable streams of static-shape batches, and checked downloads."""

from scimind.data.batches import Batches, IterableBatches, Mixture
from scimind.data.buckets import Bucket, Buckets, Field, PadCollate
from scimind.data.evaluation import EvaluationBatch, evaluation_batches
from scimind.data.failures import Failure, FailureLog
from scimind.data.mindspore_bridge import MindSporeBatches
from scimind.data.order import ShuffledOrder, WeightedSchedule
from scimind.data.prefetch import Prefetch, WaitReport
from scimind.data.stream import Batch, MapSource, Shard, State, Stream

__all__ = [
    "Batch",
    "Batches",
    "Bucket",
    "Buckets",
    "EvaluationBatch",
    "Failure",
    "FailureLog",
    "Field",
    "IterableBatches",
    "MapSource",
    "MindSporeBatches",
    "Mixture",
    "PadCollate",
    "Prefetch",
    "Shard",
    "ShuffledOrder",
    "State",
    "Stream",
    "WaitReport",
    "WeightedSchedule",
    "evaluation_batches",
]
