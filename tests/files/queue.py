"""A source of lines, as loggers and tracers are."""

from sightline.files.process_files import ProcessFile


class Queue:
    """A source: puts what it is given into a file."""

    def __init__(self, file: ProcessFile) -> None:
        self.file = file
        self.waiting: list[bytes] = []

    def __call__(self) -> bool:
        while self.waiting:
            self.file.put(self.waiting.pop(0))
        return False
