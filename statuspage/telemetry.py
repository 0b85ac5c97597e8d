"""OpenTelemetry, where OTEL_EXPORTER_OTLP_ENDPOINT names a collector: a span for each piece of work on a fault.

The trace is the fault's own, as in the log lines. Endpoint, headers and the rest are the SDK's own variables.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import trace as otel
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from incidents import trace

TIMEOUT_S = 5  # a collector that hangs holds up its own thread only


def start() -> TracerProvider:
    """Send spans from now on; the exporter's own thread does it, also after a fork."""
    provider = TracerProvider(resource=Resource.create({"service.name": "statuspage"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(timeout=TIMEOUT_S)))
    tracer = provider.get_tracer("statuspage")

    @contextmanager
    def span(trace_id: str, work: str) -> Iterator[None]:
        # A parent of the fault's own: every process finds the same one by the id alone.
        fault = otel.SpanContext(
            trace_id=int(trace_id, 16),
            span_id=int(trace_id[:16], 16) or 1,
            is_remote=True,
            trace_flags=otel.TraceFlags(otel.TraceFlags.SAMPLED),
        )
        context = otel.set_span_in_context(otel.NonRecordingSpan(fault))
        with tracer.start_as_current_span(work, context=context):
            yield

    trace.watch(span)
    return provider
