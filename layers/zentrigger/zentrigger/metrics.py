"""What the sweep measures, by way of the log (CloudWatch's embedded metric format)."""

from aws_lambda_powertools import Metrics
from aws_lambda_powertools.metrics import MetricUnit

from zentrigger.sweep_report import SweepReport


def measure(report: SweepReport) -> None:
    """Write what a sweep saw and mended, under the namespace of POWERTOOLS_METRICS_NAMESPACE.

    Nothing is written where there was nothing to see: metrics cost by the hour in which they have values.
    """
    if report.idle:
        return
    metrics = Metrics()
    for name, value in report.counts.items():
        metrics.add_metric(name, MetricUnit.Count, value)
    metrics.add_metric("OldestWaiting", MetricUnit.Seconds, report.oldest_waiting_seconds)
    metrics.flush_metrics()
