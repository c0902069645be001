"""What is told of ZODB's transactions and data records without their classes, and back byte for byte."""

from __future__ import annotations

import zlib
from binascii import hexlify

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ZODB import POSException
from ZODB.Connection import TransactionMetaData
from ZODB.tests.MinPO import MinPO
from ZODB.tests.StorageTestBase import zodb_pickle

from hubbub.kernel import Label
from hubbub.zodb.labels import label_of, meta_of
from hubbub.zodb.pickles import OPAQUE, described

REFERRING = b"\x80\x03capp.model\nRoom\nq\x01.\x80\x03}q\x02X\x01\x00\x00\x00aC\x08\0\0\0\0\0\0\0\x07q\x03capp.model\nLine\nq\x04\x86Qs."


@given(
    st.binary(),
    st.binary(),
    st.binary(),
    st.dictionaries(st.integers(0, 2**61), st.integers(0, 2**61)),
)
def test_what_zodb_says_of_a_transaction_comes_back_as_it_is(user, description, extension, copied):
    meta = TransactionMetaData(user, description, extension)
    found = meta_of(label_of(meta, "p", copied))
    assert (found.user, found.description, found.extension) == (user, description, extension)
    assert (found.status, found.copied) == ("p", copied)


def test_text_can_be_read_by_people_and_others_labels_by_zodb():
    label = label_of(TransactionMetaData("ann", "a note"), " ", {})
    assert (label.identity, label.note, label.extra) == ("ann", "a note", b"")
    found = meta_of(Label(identity="bob", command="say", note="hi", extra=b"\x80"))
    assert (found.user, found.description, found.extension) == (b"bob", b"hi", b"")


def test_class_and_references_are_seen_and_nothing_is_imported():
    assert described(REFERRING) == ("zodb:app.model.Room", (7,))
    assert described(zodb_pickle(MinPO(1))) == ("zodb:ZODB.tests.MinPO.MinPO", ())
    assert described(b"x") == (OPAQUE, ())


def test_what_a_known_wrapper_has_transformed_is_seen_through():
    assert described(b".z" + zlib.compress(REFERRING)) == described(REFERRING)
    assert described(b".h" + hexlify(REFERRING)) == described(REFERRING)


def test_what_can_t_be_seen_through_is_refused_lest_a_pack_collects_what_it_refers_to():
    with pytest.raises(POSException.StorageError, match="wrapper"):
        described(b".e" + REFERRING)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_record_or_refused(data):
    try:
        name, refs = described(data)
    except POSException.StorageError:
        assert data.startswith(b".")
    else:
        assert name.startswith("zodb:")
        assert name.isprintable()
        assert len(set(refs)) == len(refs)
