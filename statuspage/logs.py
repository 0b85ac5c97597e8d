"""One log line as one JSON object."""

import json
import logging
from datetime import UTC, datetime

from incidents import trace


class JsonFormatter(logging.Formatter):
    """Time, level, logger, text, the trace of the fault that it is about, and a traceback when there is one."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "text": record.getMessage(),
        }
        if trace.current():
            line["trace"] = trace.current()
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
