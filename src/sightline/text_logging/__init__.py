"""Text logs of every process: standard ``logging`` underneath, written in the background."""

from sightline.text_logging.config import TextLoggingConfig
from sightline.text_logging.loggers import Logger, get_logger, getLogger
from sightline.text_logging.process_logging import TextLogging, setup_file_logging

__all__ = ["Logger", "TextLogging", "TextLoggingConfig", "getLogger", "get_logger", "setup_file_logging"]
