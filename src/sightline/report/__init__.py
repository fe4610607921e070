"""One self-contained page about a run, or several: what a journal and the files beside it say.

The parts, in the order in which the data goes through them: what is looked at (`run_data`, and for each
subject a module that turns it into plain data), `packing` and `thinning` (many numbers in few bytes),
`one_file` (the page), `serving` (the same page, while the run goes on). What a browser runs lies in `assets`:
it puts everything into place as text.
"""

from sightline.report.gathering import Gathered, Runs, gather
from sightline.report.one_file import page, require_library
from sightline.report.serving import ReportServer

__all__ = ["Gathered", "ReportServer", "Runs", "gather", "page", "require_library"]
