"""From when to when a certificate is good, read from its bytes."""

from __future__ import annotations

import datetime as dt
import ssl

import pytest

from sansio_pingora.tls import validity
from tests.tls.certs import PAST, authority, cert


def der(pem: bytes) -> bytes:
    return ssl.PEM_cert_to_DER_cert(
        pem.decode().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----\n"
    )


def test_as_it_was_issued():
    assert validity(der(cert("a.test", expired=True).cert)) == (PAST.timestamp(), PAST.timestamp() + 86_400)


@pytest.mark.parametrize("year", [1950, 1999, 2049, 2050, 2120])  # RFC 5280: from 2050 on with four digits
def test_both_forms_of_a_year(year):
    end = dt.datetime(year, 12, 31, 23, 59, 58, tzinfo=dt.UTC)
    issued = authority().issue_cert("a.test", not_before=dt.datetime(1950, 1, 1, tzinfo=dt.UTC), not_after=end)

    assert validity(der(issued.cert_chain_pems[0].bytes()))[1] == end.timestamp()


@pytest.mark.parametrize("size", [0, 1, 4, 40, 60, 100])
def test_what_is_cut_short_is_no_certificate(size):
    with pytest.raises(ValueError, match=r".+"):
        validity(der(cert("a.test").cert)[:size])
