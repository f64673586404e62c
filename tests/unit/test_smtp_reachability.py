"""Port 25 and its canaries: what is ours, and what is an operator's own affair."""

from crawler.smtp.reachability import LEAST_LOST, MOST, Reachability, block


def visited(*visits: tuple[str, str, bool]) -> Reachability:
    watch = Reachability()
    for address, operator, reached in visits:
        watch.add(address, operator, reached=reached)
    return watch


def strangers(count: int, *, reached: bool, start: int = 0) -> list[tuple[str, str, bool]]:
    """Servers of as many operators, each in a block of its own."""
    numbers = range(start, start + count)
    return [(f"192.{number}.0.1", f"{number}.example", reached) for number in numbers]


def test_strangers_that_fall_together_are_our_network() -> None:
    good, lost = strangers(20, reached=True), strangers(20, reached=False, start=100)
    assert visited(*good).down() == []
    assert visited(*good, *lost).down() == [4]


def test_a_half_of_them_is_enough() -> None:
    mixed = [
        one
        for pair in zip(
            strangers(25, reached=True), strangers(25, reached=False, start=100), strict=True
        )
        for one in pair
    ]
    assert visited(*mixed).down() == [4]


def test_one_operator_or_one_block_is_no_network() -> None:
    good = strangers(20, reached=True)
    operator = [(f"198.{number}.0.1", "large.example", False) for number in range(40)]
    neighbours = [(f"203.0.{number}.1", f"n{number}.example", False) for number in range(40)]
    assert visited(*good, *operator, *neighbours).down() == []


def test_few_say_nothing() -> None:
    assert visited(*strangers(LEAST_LOST - 1, reached=False)).down() == []
    assert visited(*strangers(LEAST_LOST, reached=False)).down() == [4]


def test_a_usual_share_of_losses_is_none() -> None:
    """A tenth: five times what the Internet has, among the latest visits."""
    for lost in range(0, 200, 10):
        watch = visited(*strangers(250, reached=True))
        for number in range(lost, lost + 10):
            watch.add(f"192.{number}.0.1", f"{number}.example", reached=number % 10 != 0)
        assert watch.down() == []


def test_only_the_latest_count() -> None:
    lost, good = strangers(MOST, reached=False), strangers(MOST, reached=True, start=100)
    assert visited(*lost).down() == [4]
    assert visited(*lost, *good).down() == []


def test_families_are_apart_and_a_pause_forgets() -> None:
    six = [(f"2001:{number:x}::1", f"{number}.example", False) for number in range(1, 30)]
    watch = visited(*strangers(40, reached=True), *six)
    assert watch.down() == [6]
    watch.forget()
    assert watch.down() == []


def test_blocks() -> None:
    assert block("192.0.2.77") == "192.0.0.0/16"
    assert block("2001:db8:7:8::1") == "2001:db8::/32"
