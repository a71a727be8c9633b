"""Who hears that a lane drains."""

import pytest

from sansio_pingora.drain_news import DrainNews


def test_everybody_hears_once_and_in_order():
    news, heard = DrainNews(), []
    news.on_drain(lambda now: heard.append(("first", now)), 1.0)
    news.on_drain(lambda now: heard.append(("second", now)), 2.0)
    assert heard == []
    news.announce_drain(3.0)
    news.announce_drain(4.0)
    assert heard == [("first", 3.0), ("second", 3.0)]


def test_who_comes_later_hears_at_once():
    news, heard = DrainNews(), []
    news.announce_drain(1.0)
    news.on_drain(heard.append, 2.0)
    assert heard == [2.0]


def test_one_that_fails_keeps_the_news_from_nobody():
    news, heard = DrainNews(), []

    def fails(now):
        raise ZeroDivisionError

    for tell in (heard.append, fails, heard.append):
        news.on_drain(tell, 0.0)
    with pytest.raises(ZeroDivisionError):
        news.announce_drain(1.0)
    assert heard == [1.0, 1.0]
