"""`# sightline: allow <reason>`: what it covers, and what is said of it."""

import textwrap

import pytest

from sightline.lint import Source, check


def codes(code: str) -> list[tuple[int, str, bool]]:
    source = Source.parse("train.py", textwrap.dedent(code).lstrip("\n").encode())
    return [(each.line, each.code, each.note) for each in check(source)]


@pytest.mark.parametrize(
    "code",
    [
        "import wandb\nwandb.log({})  # sightline: allow the sweep's own panel\n",
        "import wandb\n# sightline: allow the sweep's own panel\nwandb.log({})\n",
        "import wandb\nwandb.log({})  # sightline: allow #123\n",
        "import wandb\nwandb.log({})  # noqa: X # sightline: allow the sweep's own panel  # more\n",
        "import wandb\nwandb.log(  # sightline: allow the sweep's own panel\n    {}\n)\n",
        "import wandb\nwandb.log(\n    {}\n)  # sightline: allow the sweep's own panel\n",
        "import wandb\nx = [\n    1,\n    wandb.log({}),  # sightline: allow here alone\n]\n",
        "import wandb\nx = [\n    1,\n    # sightline: allow here alone\n    wandb.log({}),\n]\n",
        "import wandb\n# sightline: allow the sweep's own panel,\n# which reads W&B alone\nwandb.log({})\n",
        "import wandb\nif wandb.log({}):  # sightline: allow the header\n    pass\n",
        "import wandb\n# sightline: allow all of it\nx = {\n  1: wandb.log({}),\n  2: wandb.log({})\n}\n",
    ],
)
def test_an_allow_covers_its_line_the_line_below_and_a_statement_it_begins_or_ends(code: str) -> None:
    """Beside other comments, and over several lines of comment too."""
    assert codes(code) == []


def test_the_allow_of_a_compound_statement_covers_its_header_alone() -> None:
    """What is in the loop has its own reasons."""
    code = """
        import wandb
        for step in range(3):  # sightline: allow everything?
            wandb.log({})
        # sightline: allow everything?
        def report():
            wandb.log({})
        """
    assert codes(code) == [(2, "SL002", True), (3, "SL101", False), (4, "SL002", True), (6, "SL101", False)]


def test_an_allow_does_not_reach_over_an_empty_line() -> None:
    """Nor to the statement after the next."""
    assert codes("import wandb\n# sightline: allow this\n\nwandb.log({})\n") == [
        (2, "SL002", True),
        (4, "SL101", False),
    ]


@pytest.mark.parametrize(
    "comment", ["# sightline: allow", "# sightline: allow   ", "#sightline:allow -", "# sightline: allow:"]
)
def test_an_allow_without_a_reason_is_a_finding_in_place_of_what_it_hides(comment: str) -> None:
    """One thing to mend, not two."""
    assert codes(f"import wandb\nwandb.log({{}})  {comment}\n") == [(2, "SL001", False)]


def test_an_allow_that_permits_nothing_is_noted() -> None:
    """It fails no check: what it permitted may be gone for good."""
    assert codes("import wandb\nwandb.finish()  # sightline: allow the end\n") == [(2, "SL002", True)]
    assert codes("x = 1  # sightline: allow nothing at all\n") == [(1, "SL002", True)]


@pytest.mark.parametrize(
    "code",
    [
        'import wandb\ntext = "# sightline: allow in a string"; wandb.log({})\n',
        'import wandb\ndef f():\n    """\n    # sightline: allow in a docstring"""\n    wandb.log({})\n',
        "import wandb\nwandb.log({})  # sightline: disallow this\n",
        "import wandb\nwandb.log({})  # we let sightline allow this\n",
    ],
)
def test_only_a_comment_of_that_form_allows(code: str) -> None:
    """Strings are no comments, and other words no allows."""
    assert [code for _, code, _ in codes(code)] == ["SL101"]


def test_an_allow_covers_every_rule_on_its_line() -> None:
    """One reason for one line."""
    code = """
        import wandb
        from lib import train_step
        for batch in batches:
            state, loss = train_step(state, batch)
            wandb.log({"loss": float(loss)})  # sightline: allow a run of ten steps
        """
    assert codes(code) == []
