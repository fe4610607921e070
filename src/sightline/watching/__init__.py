"""A run as a terminal shows it: what is worth showing, where it goes, and the terminal itself.

``facts`` says how a run stands, as plain data; ``layout`` and ``drawing`` make lines of it, out of
``cells``; ``screen`` has the terminal, and ``live`` keeps all of it up to date.
"""
