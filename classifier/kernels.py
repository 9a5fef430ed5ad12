"""The loops between a text and its tokens, compiled: words, look-ups, n-grams. `classifier.sums` has the others.

Everything here works row by row and alike for one row and for a million, so a product gets the same numbers to the bit
in any batch and alone. Texts are UTF-8, one after the other in one array of bytes; `ends` says where each one ends.
"""

from __future__ import annotations

import numpy as np

from classifier.compiled import Bytes, Flags, Int32s, Int64s, compiled, prefetch

__all__ = [
    "distinct",
    "encode",
    "find_all",
    "find_grams",
    "gram_keys",
    "hashes",
    "table_of",
    "tally_pairs",
]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 / golden ratio: Fibonacci hashing (Knuth, volume 3, 6.4)
_MIX = np.uint64(0xD6E8FEB86659FD93)
_ONE, _TWO = np.uint64(1), np.uint64(2)
_HALF, _BYTE = np.uint64(32), np.uint64(8)
_EIGHT_BYTES = np.uint64(7)
_SHORTEST_WORD = 2
_TWO_BYTES, _THREE_BYTES, _FOUR_BYTES = 0x80, 0xE0, 0xF0
"""First bytes from which on a character has two, three and four bytes."""
_FREE = -1
_KEY_BITS = 64
_SMALLEST = 12
"""Bits that number the slots of a table that grows, to begin with."""
_FEW_WORDS = 1 << 10
"""Words of a text for which there is room, to begin with."""
_AHEAD = 16
"""Look-ups between the one that is made and the one whose slot is asked for: memory takes as long as some of them."""


@compiled
def _mixed(state: np.uint64, factor: np.uint64) -> np.uint64:
    state = state * factor
    state = state ^ (state >> _HALF)
    state = state * _MIX
    return state ^ (state >> _HALF)


@compiled
def _absorbed(state: np.uint64, chunk: np.uint64, size: np.uint64, factor: np.uint64) -> np.uint64:
    """A hash after `size` bytes, of which the last few stand in `chunk`; only every eighth changes it."""
    return _mixed(state ^ chunk, factor) if size & _EIGHT_BYTES == 0 else state


@compiled
def _final(state: np.uint64, chunk: np.uint64, size: np.uint64, factor: np.uint64) -> int:
    return np.int64(_mixed(_mixed(state ^ chunk, factor) ^ size, factor))


@compiled
def hashes(data: Bytes, ends: Int64s, seed: np.uint64, factor: np.uint64) -> Int64s:
    """Hash of each whole text, of 64 bits; seed and factor, which must be odd, are drawn at random for each table."""
    found = np.empty(len(ends), np.int64)
    at = np.uint64(0)
    for row in range(len(ends)):
        state = seed
        chunk = np.uint64(0)
        begin = at
        while at < np.uint64(ends[row]):
            chunk = (chunk << _BYTE) | np.uint64(data[at])
            at += _ONE
            state = _absorbed(state, chunk, at - begin, factor)
        found[row] = _final(state, chunk, at - begin, factor)
    return found


# A hash table is one array: key and place side by side, so that a look-up touches memory once. A place of -1 is free.
# Indexes are unsigned: for signed ones Numba asks each time whether they count from the end.


@compiled
def _first_slot(shift: np.uint64, key: int) -> np.uint64:
    """Where to begin to look for the place of a key."""
    return np.uint64((((np.uint64(key) * _GOLDEN) >> shift) << _ONE) | _ONE)


@compiled
def _slot(table: Int64s, shift: np.uint64, key: int) -> np.uint64:
    """Where the place of a key stands, or where it would."""
    last = np.uint64(len(table)) - _ONE
    slot = _first_slot(shift, key)
    while table[slot] != _FREE and table[slot - _ONE] != key:
        slot = (slot + _TWO) & last
    return slot


@compiled
def table_of(keys: Int64s, shift: np.uint64) -> Int64s:
    """Open addressing, linear probing, 2**(64 - shift) slots. Of keys that are not distinct the first place counts."""
    table = np.full(2 << np.int64(np.uint64(64) - shift), _FREE, np.int64)
    for place in range(len(keys)):
        slot = _slot(table, shift, keys[place])
        if table[slot] == _FREE:
            table[slot - _ONE] = keys[place]
            table[slot] = place
    return table


@compiled
def find_all(table: Int64s, shift: np.uint64, keys: Int64s) -> Int32s:
    """Place of each key, -1 where it is unknown."""
    found = np.empty(len(keys), np.int32)
    for number in range(len(keys)):
        found[number] = table[_slot(table, shift, keys[number])]
    return found


@compiled
def _twice_as_large(table: Int64s, shift: np.uint64) -> Int64s:
    """The same table in twice the slots; `shift` is that of the new one."""
    larger = np.full(2 * len(table), _FREE, np.int64)
    for slot in range(1, len(table), 2):
        if table[slot] != _FREE:
            other = _slot(larger, shift, table[slot - 1])
            larger[other - _ONE] = table[slot - 1]
            larger[other] = table[slot]
    return larger


@compiled
def _low_bits(data: Bytes, at: np.uint64) -> int:
    return np.int64(data[at]) & 0x3F


@compiled
def _character(data: Bytes, at: np.uint64) -> tuple[int, np.uint64]:
    """Code point of the character that begins at data[at], and where the next one does."""
    code = np.int64(data[at])
    if code < _TWO_BYTES:
        return code, at + _ONE
    second = _low_bits(data, at + _ONE)
    if code < _THREE_BYTES:
        return ((code & 0x1F) << 6) | second, at + _TWO
    third = _low_bits(data, at + _TWO)
    if code < _FOUR_BYTES:
        return ((code & 0x0F) << 12) | (second << 6) | third, at + _TWO + _ONE
    fourth = _low_bits(data, at + _TWO + _ONE)
    return ((code & 0x07) << 18) | (second << 12) | (third << 6) | fourth, at + _TWO + _TWO


@compiled
def _find_words(
    data: Bytes,
    at: np.uint64,
    end: np.uint64,
    letters: Flags,
    table: Int64s,
    shift: np.uint64,
    seed: np.uint64,
    factor: np.uint64,
    found: Int64s,
) -> int:
    """Number of words of a text; `found` has three entries of each: its hash, where it begins, where it ends."""
    words = 0
    while at < end:
        begin = at
        characters = 0
        state = seed
        chunk = np.uint64(0)
        after = at
        while at < end:
            after = at + _ONE
            code = np.int64(data[at])
            if code >= _TWO_BYTES:
                code, after = _character(data, at)
            if not letters[code]:
                break
            characters += 1
            chunk = (chunk << _BYTE) | np.uint64(data[at])
            at += _ONE
            state = _absorbed(state, chunk, at - begin, factor)
            while at < after:  # nearly all characters have one byte
                chunk = (chunk << _BYTE) | np.uint64(data[at])
                at += _ONE
                state = _absorbed(state, chunk, at - begin, factor)
        if characters >= _SHORTEST_WORD:
            key = _final(state, chunk, at - begin, factor)
            prefetch(table, _first_slot(shift, key))
            found[3 * words] = key
            found[3 * words + 1] = begin
            found[3 * words + 2] = at
            words += 1
        at = after
    return words


@compiled
def encode(
    data: Bytes,
    ends: Int64s,
    letters: Flags,
    table: Int64s,
    shift: np.uint64,
    seed: np.uint64,
    factor: np.uint64,
    known: int,
    collect: bool,
) -> tuple[Int32s, Int64s, Int64s, Int64s, Int64s]:
    """Words of texts, as places in a table.

    Args:
        data: the texts.
        ends: where each ends.
        letters: of each code point, whether it can be in a word.
        table: of the words' hashes; places from `known` on are of words to pass over.
        shift: of the table.
        seed: of the hashes.
        factor: of the hashes.
        known: number of words that have an id.
        collect: whether to say of the unknown words where they stand.

    Returns:
        Id of each word, -1 where it is unknown; where each text begins in the ids, and the last one ends; and with
        `collect` of each unknown word its hash, and where it begins and ends in `data`.
    """
    most = len(data) // 3 + len(ends) + 1  # a word has at least two bytes, and one after it
    ids = np.empty(most, np.int32)
    starts = np.zeros(len(ends) + 1, np.int64)
    keys = np.empty(most if collect else 0, np.int64)
    begins = np.empty(most if collect else 0, np.int64)
    stops = np.empty(most if collect else 0, np.int64)
    own = np.empty(3 * _FEW_WORDS, np.int64)
    words = 0
    unknown = 0
    at = 0
    for row in range(len(ends)):
        room = 3 * ((ends[row] - at) // 3 + 1)
        if room > len(own):
            own = np.empty(room, np.int64)
        found = _find_words(data, np.uint64(at), np.uint64(ends[row]), letters, table, shift, seed, factor, own)
        at = ends[row]
        # Only now: memory has brought by now what was asked for.
        for word in range(0, 3 * found, 3):
            place = table[_slot(table, shift, own[word])]
            if place < known:
                ids[words] = place
                words += 1
                if collect and place == _FREE:
                    keys[unknown] = own[word]
                    begins[unknown] = own[word + 1]
                    stops[unknown] = own[word + 2]
                    unknown += 1
        starts[row + 1] = words
    if not collect:
        return ids[:words].copy(), starts, keys, begins, stops
    return ids[:words].copy(), starts, keys[:unknown].copy(), begins[:unknown].copy(), stops[:unknown].copy()


@compiled
def distinct(keys: Int64s) -> tuple[Int32s, Int64s]:
    """Place of each key among the distinct ones, which are in the order of their first use; and where that is."""
    shift = np.uint64(_KEY_BITS - _SMALLEST)
    table = np.full(2 << _SMALLEST, _FREE, np.int64)
    places = np.empty(len(keys), np.int32)
    firsts = np.empty(len(keys), np.int64)
    found = 0
    for number in range(len(keys)):
        slot = _slot(table, shift, keys[number])
        if table[slot] == _FREE:
            table[slot - _ONE] = keys[number]
            table[slot] = found
            firsts[found] = number
            places[number] = found
            found += 1
            if 4 * found > len(table):
                shift = shift - np.uint64(1)
                table = _twice_as_large(table, shift)
        else:
            places[number] = table[slot]
    return places, firsts[:found].copy()


@compiled
def find_grams(current: Int32s, ids: Int32s, starts: Int64s, reach: int, table: Int64s, shift: np.uint64) -> Int32s:
    """Id of the n-gram that begins at each word, -1 where none is known.

    Args:
        current: id of the run of n-1 words that begins at each word, or -1.
        ids: id of each word, or -1.
        starts: where each text begins.
        reach: n-1.
        table: of pairs (run << 32 | last word).
        shift: of the table.
    """
    found = np.full(len(ids), -1, np.int32)
    for row in range(len(starts) - 1):
        for at in range(starts[row], starts[row + 1] - reach):
            soon = at + _AHEAD
            if soon + reach < len(ids):
                prefetch(table, _first_slot(shift, (np.int64(current[soon]) << 32) | np.int64(ids[soon + reach])))
            first = np.int64(current[at])
            last = np.int64(ids[at + reach])
            if first >= 0 and last >= 0:
                found[at] = table[_slot(table, shift, (first << 32) | last)]
    return found


@compiled
def tally_pairs(current: Int32s, ids: Int32s, starts: Int64s, reach: int) -> tuple[Int64s, Int64s]:
    """Distinct n-grams of known words (run << 32 | last word) as they first come, and in how many texts each is."""
    shift = np.uint64(_KEY_BITS - _SMALLEST)
    table = np.full(2 << _SMALLEST, _FREE, np.int64)
    keys = np.empty(1 << _SMALLEST, np.int64)
    rows = np.empty(1 << _SMALLEST, np.int64)
    seen = np.empty(1 << _SMALLEST, np.int64)  # the last text that a pair was in
    found = 0
    for row in range(len(starts) - 1):
        for at in range(starts[row], starts[row + 1] - reach):
            first = np.int64(current[at])
            last = np.int64(ids[at + reach])
            if first < 0 or last < 0:
                continue
            key = (first << 32) | last
            slot = _slot(table, shift, key)
            place = table[slot]
            if place < 0:
                if found == len(keys):
                    keys = np.concatenate((keys, np.empty(found, np.int64)))
                    rows = np.concatenate((rows, np.empty(found, np.int64)))
                    seen = np.concatenate((seen, np.empty(found, np.int64)))
                place = np.int64(found)
                table[slot - _ONE] = key
                table[slot] = place
                keys[place] = key
                rows[place] = 0
                seen[place] = -1
                found += 1
                if 4 * found > len(table):
                    shift = shift - np.uint64(1)
                    table = _twice_as_large(table, shift)
            if seen[place] != row:
                seen[place] = row
                rows[place] += 1
    return keys[:found].copy(), rows[:found].copy()


@compiled
def gram_keys(
    data: Bytes, ends: Int64s, shortest: int, longest: int, basis: np.uint64, factor: np.uint64
) -> tuple[Int64s, Int64s]:
    """Keys of the character n-grams of words, word by word, and where each word begins in them."""
    codes = np.empty(len(data), np.int64)
    characters = np.zeros(len(ends) + 1, np.int64)
    starts = np.zeros(len(ends) + 1, np.int64)
    at = np.uint64(0)
    read = np.int64(0)
    for word in range(len(ends)):
        while at < np.uint64(ends[word]):
            codes[read], at = _character(data, at)
            read += 1
        characters[word + 1] = read
        grams = np.int64(0)
        for n in range(shortest, longest + 1):
            grams += max(read - characters[word] - n + 1, 0)
        starts[word + 1] = starts[word] + grams
    keys = np.empty(starts[-1], np.int64)
    found = 0
    for word in range(len(ends)):
        for n in range(shortest, longest + 1):
            for first in range(characters[word], characters[word + 1] - n + 1):
                key = basis
                for place in range(first, first + n):
                    key = key * factor + np.uint64(codes[place])
                keys[found] = np.int64(key + np.uint64(n))
                found += 1
    return keys, starts
