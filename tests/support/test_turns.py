"""What a process has once goes from the first who asks to the next, and to nobody twice."""

from __future__ import annotations

import os
import threading

import pytest

from sightline.support.turns import Turns


def test_the_first_has_it_and_the_oldest_of_those_who_wait_follows() -> None:
    turns, said = Turns(), []
    first, second, third = (turns.ask(lambda n=n: said.append(f"{n} begins")) for n in range(3))
    assert (first.has_it, second.has_it, said) == (True, False, ["0 begins"])
    second.end(lambda: said.append("never"))
    first.end(lambda: said.append("0 ends"))
    first.end(lambda: said.append("never"))
    assert (third.has_it, said) == (True, ["0 begins", "0 ends", "2 begins"])
    third.end(lambda: None)
    assert turns.ask(lambda: None).has_it


def test_one_that_gives_up_never_begins_and_one_that_has_begun_goes_on() -> None:
    turns, said = Turns(), []
    first = turns.ask(lambda: said.append("first"))
    second = turns.ask(lambda: said.append("second"))
    first.give_up()
    second.give_up()
    assert first.has_it
    first.end(lambda: None)
    assert said == ["first"]


def test_one_that_cannot_begin_is_not_in_the_way() -> None:
    turns = Turns()

    def fails() -> None:
        raise OSError("no disk")

    with pytest.raises(OSError, match="no disk"):
        turns.ask(fails)
    assert turns.ask(lambda: None).has_it


def test_threads_have_it_one_after_the_other() -> None:
    turns, inside, most = Turns(), [], []

    def work() -> None:
        for _ in range(200):
            begun = threading.Event()

            def begin(begun: threading.Event = begun) -> None:
                inside.append(1)
                most.append(len(inside))
                begun.set()

            turn = turns.ask(begin)
            assert begun.wait(60)
            turn.end(inside.pop)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(most), max(most), inside) == (800, 1, [])


def test_a_forked_child_begins_its_own_line() -> None:
    turns = Turns()
    held = turns.ask(lambda: None)
    child = os.fork()
    if not child:
        os._exit(0 if turns.ask(lambda: None).has_it and not held.has_it else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert held.has_it
