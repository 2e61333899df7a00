"""A client may ask so often, and no memory grows with those who ask."""

from listener.web.limits import REMEMBERED, Rates, Slots


def test_a_bucket_holds_the_requests_of_one_second_and_fills_evenly() -> None:
    rates = Rates(10)
    assert [rates.wait_s("a", 100.0) for _ in range(10)] == [0.0] * 10
    assert 0.09 < rates.wait_s("a", 100.0) < 0.11
    assert rates.wait_s("a", 100.1) == 0.0
    assert rates.wait_s("a", 100.1) > 0
    assert [rates.wait_s("a", 200.0) for _ in range(11)].count(0.0) == 10


def test_a_refused_request_does_not_count() -> None:
    rates = Rates(1)
    assert rates.wait_s("a", 0.0) == 0.0
    assert all(rates.wait_s("a", 0.5) > 0 for _ in range(100))
    assert rates.wait_s("a", 1.0) == 0.0


def test_clients_have_a_bucket_each_and_of_ipv6_a_network_each() -> None:
    rates = Rates(1)
    assert rates.wait_s("10.0.0.1", 0.0) == 0.0
    assert rates.wait_s("10.0.0.2", 0.0) == 0.0
    assert rates.wait_s("::ffff:10.0.0.2", 0.0) > 0
    assert rates.wait_s("2001:db8::1", 0.0) == 0.0
    assert rates.wait_s("2001:db8::ffff", 0.0) > 0
    assert rates.wait_s("2001:db8:1::1", 0.0) == 0.0


def test_no_more_clients_are_remembered_than_there_is_room_for() -> None:
    rates = Rates(1)
    for number in range(REMEMBERED + 5):
        rates.wait_s(str(number), 0.0)
    assert len(rates._spoken_for) == REMEMBERED
    assert rates.wait_s(str(REMEMBERED), 0.0) > 0
    assert rates.wait_s("0", 0.0) == 0.0  # forgotten: it asked longest ago


def test_slots_are_taken_and_given_back() -> None:
    slots = Slots(2)
    assert [slots.take() for _ in range(3)] == [True, True, False]
    slots.give_back()
    assert [slots.take() for _ in range(2)] == [True, False]
