"""The value codec: plain values and references <-> MessagePack (SP2, SP3).

What MessagePack has is written as MessagePack: None, bool, 64-bit int, float, str, bytes, list (array), dict whose keys
are of these (map). All else is an extension:

     1 REF        8 bytes oid, then the class name     10 STRUCT      [class name, {part: value}]
     2 BIG_INT    two's complement                     11 DATACLASS   as STRUCT
     3 TEXT       str with lone surrogates             12 NAMEDTUPLE  as STRUCT
     4 COMPLEX    two doubles                          13 ENUM        [class name, {"name": name}]
     5 BYTEARRAY  the bytes                            14 FLAG        [class name, {"value": int}]
     6 TUPLE      array                                20 DATETIME    ISO text, or [ISO text, fold, zone]
     7 SET        array, sorted by encoded bytes       21 DATE        ISO text
     8 FROZENSET  as SET                               22 TIME        as DATETIME
     9 PAIRS      [keys, values] of any other dict     23 TIMEDELTA   [days, seconds, microseconds]
    15 CODED      [class name, {"value": what its      16 WEAK_REF    as REF; not among the oids that the record
                  registered codec made of it}]                       refers to
    24 ZONE       key of the tz database, or [days, seconds, microseconds, name?] for a fixed offset
    25 DECIMAL    text                                 28 PATH        [flavour, bytes]
    26 FRACTION   hexadecimal n/d                      29 RANGE       hexadecimal start stop step
    27 UUID       16 bytes                             30 CONSTANT    "ellipsis" or "unset"

* Exact types only: what is read back has the type of what was stored.
* The parts of a class that counts versions begin with its version, ``_p_version``, if that is above 1, and those of
  its bases (`hubbub.space.schema`).
* Equal values of equal types give equal bytes, except that a dict keeps its order.
* A record is a tree: aliases become equal values, cycles are refused, nesting is bounded.
* The standard time stamp (extension -1), which other languages may write, is read as an aware datetime.
"""

from hubbub.space.blame import MAX_DEPTH
from hubbub.space.reading import Decoded, ObjectOf, decode_state, decode_value
from hubbub.space.unknown import UnknownValue
from hubbub.space.writing import RefOf, encode_state, encode_value

__all__ = [
    "MAX_DEPTH",
    "Decoded",
    "ObjectOf",
    "RefOf",
    "UnknownValue",
    "decode_state",
    "decode_value",
    "encode_state",
    "encode_value",
]
