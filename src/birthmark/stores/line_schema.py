# SPDX-License-Identifier: Apache-2.0
"""The tables of a rig's database, and how those of earlier versions become them."""

from typing import Final

APPLICATION: Final = b"BMLI"
_V1: Final = """
create table journal (
    id integer primary key,
    at text not null,
    run text not null,
    position integer not null,
    unit text not null,
    event text not null,
    step text not null,
    ms real,
    verdict text not null,
    finding text not null,
    detail text not null
) strict;
create index journal_unit on journal (unit);
create table birth (
    sequence integer primary key autoincrement,
    key text not null unique,
    unit text not null,
    jws text not null
) strict;
create table outbox (
    destination text not null,
    sequence integer not null references birth (sequence),
    state text not null default 'waiting' check (state in ('waiting', 'delivered', 'parked')),
    attempts integer not null default 0,
    reason text not null default '',
    primary key (destination, sequence)
) strict, without rowid;
create index outbox_open on outbox (state, destination, sequence) where state <> 'delivered';
"""
# A destination has a cursor in place of a row for each parcel: everything up to `done` was delivered or put aside.
# `aside` holds what is parked, and what a person has let go again ("again": always at or below `done`).
_V2: Final = """
create table identity (
    journal text not null,
    sequence integer not null,
    decisions integer
) strict;
insert into identity select lower(hex(randomblob(8))), (select coalesce(max(sequence), 0) from birth), null;
create table event (
    sequence integer primary key,
    key text not null unique,
    kind text not null,
    unit text not null,
    at text not null,
    body text not null
) strict;
create index event_birth on event (sequence) where kind = 'unit.born';
create table destination (
    name text primary key,
    wants text not null check (wants in ('births', 'everything')),
    done integer not null,
    attempts integer not null default 0,
    reason text not null default '',
    pause_until text not null default ''
) strict, without rowid;
create table aside (
    destination text not null references destination (name) on delete cascade,
    sequence integer not null references event (sequence),
    state text not null check (state in ('parked', 'again')),
    attempts integer not null,
    reason text not null,
    at text not null,
    primary key (destination, sequence)
) strict, without rowid;
insert into event
    select sequence, key, 'unit.born', unit, at, json_object(
        'event', 'unit.born', 'idempotency_key', key, 'rig', '', 'journal', (select journal from identity),
        'sequence', sequence, 'run', '', 'transaction', '', 'at', at, 'operator', '', 'product', '', 'order', '',
        'mes_hold', json('false'), 'unit', unit, 'position', 0, 'jws', jws)
    from (select *, coalesce((select max(at) from journal where unit = birth.unit), '1970-01-01T00:00:00.000+00:00')
        as at from birth);
insert into destination (name, wants, done)
    select destination, case destination when 'ca' then 'births' else 'everything' end,
        coalesce(min(case state when 'waiting' then sequence end) - 1, max(sequence))
    from outbox group by destination;
insert into aside
    select destination, sequence, 'parked', attempts, reason, '' from outbox where state = 'parked';
drop table outbox;
drop table birth;
"""
# What the store of the units could not be told of the ends of attempts, because it was away.
_V3: Final = """
create table owed (
    run text not null,
    position integer not null,
    body text not null,
    primary key (run, position)
) strict, without rowid;
"""
MIGRATIONS: Final = (_V1, _V2, _V3)
