//! Random operations on the table and on a model of it.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::store::memory::ManualClock;

/// The plainest thing that could be right.
#[derive(Default)]
struct Model {
    now: u64,
    /// Value and deadline by key.
    entries: BTreeMap<u8, (Vec<u8>, Option<u64>)>,
    /// Keys, the most recently used last.
    order: Vec<u8>,
}

impl Model {
    fn expire(&mut self) {
        let now = self.now;
        self.entries.retain(|_, (_, deadline)| deadline.is_none_or(|deadline| deadline > now));
        self.order.retain(|key| self.entries.contains_key(key));
    }

    fn touch(&mut self, key: u8) {
        self.order.retain(|&other| other != key);
        self.order.push(key);
    }

    fn remove(&mut self, key: u8) -> bool {
        self.order.retain(|&other| other != key);
        self.entries.remove(&key).is_some()
    }

    fn bytes(&self) -> usize {
        self.entries.values().map(|(value, _)| entry_size(key_of(0).len(), value.len())).sum()
    }

    fn evict(&mut self, max_bytes: usize, max_entries: usize) {
        while self.bytes() > max_bytes || self.entries.len() > max_entries {
            self.remove(self.order[0]);
        }
    }
}

fn key_of(key: u8) -> [u8; 4] {
    [b'k', b':', key, key]
}

#[derive(Clone, Debug)]
enum Op {
    Set { key: u8, len: usize, ttl: Option<u64>, keep: bool, condition: Condition },
    Get(u8),
    Remove(u8),
    Expire(u8, u64),
    Persist(u8),
    Advance(u64),
    Len,
    Flush,
}

fn ops(ttls: bool, most: usize) -> impl Strategy<Value = Vec<Op>> {
    let key = 0u8..24;
    let ttl = if ttls { prop::option::of(0u64..40).boxed() } else { Just(None).boxed() };
    let condition = prop::sample::select(vec![
        Condition::Always,
        Condition::Always,
        Condition::IfAbsent,
        Condition::IfPresent,
    ]);
    let set = (key.clone(), 0usize..60, ttl, any::<bool>(), condition)
        .prop_map(|(key, len, ttl, keep, condition)| Op::Set { key, len, ttl, keep, condition });
    let common = prop_oneof![
        12 => set,
        8 => key.clone().prop_map(Op::Get),
        4 => key.clone().prop_map(Op::Remove),
        1 => Just(Op::Len),
    ];
    let op = if ttls {
        prop_oneof![
            60 => common,
            5 => (key.clone(), 0u64..40).prop_map(|(key, ttl)| Op::Expire(key, ttl)),
            3 => key.prop_map(Op::Persist),
            12 => (0u64..15).prop_map(Op::Advance),
            1 => Just(Op::Flush),
        ]
        .boxed()
    } else {
        common.boxed()
    };
    prop::collection::vec(op, 1..most)
}

fn shown(db: &mut Db) -> Vec<u8> {
    let mut keys = Vec::new();
    let mut cursor = 0;
    loop {
        cursor = db.scan(cursor, 3, &Glob::new(b"*"), &mut |key| keys.push(key[2]));
        if cursor == 0 {
            keys.sort_unstable();
            return keys;
        }
    }
}

/// Keys from the least to the most recently used, with both directions of the list checked against each other.
fn order(db: &Db) -> Vec<u8> {
    db.slab.by_age().map(|at| db.slab[at].key()[2]).collect()
}

/// Runs `ops` on both; `exact` says that the model decides which keys are evicted, else the table does.
fn compare(ops: Vec<Op>, limits: Limits, exact: bool) -> Result<(), TestCaseError> {
    let hand = ManualClock::default();
    let mut db = Db::new(limits, Clock::manual(&hand));
    let mut model = Model::default();
    let max_entries = limits.max_entries.unwrap_or(usize::MAX);
    for (step, op) in ops.into_iter().enumerate() {
        match op {
            Op::Set { key, len, ttl, keep, condition } => {
                let value = vec![step as u8; len];
                let expiry = if keep { Expiry::Keep } else { ttl.map_or(Expiry::Clear, Expiry::After) };
                let outcome = db.set_with(&key_of(key), &value, expiry, condition);
                let old = model.entries.get(&key).map(|(_, deadline)| *deadline);
                let expected = if entry_size(4, len) > limits.max_bytes {
                    SetOutcome::TooLarge
                } else if (condition == Condition::IfAbsent && old.is_some())
                    || (condition == Condition::IfPresent && old.is_none())
                {
                    SetOutcome::ConditionNotMet
                } else {
                    let deadline = match expiry {
                        Expiry::Clear => None,
                        Expiry::Keep => old.flatten(),
                        Expiry::After(ms) => Some(model.now + ms),
                    };
                    model.entries.insert(key, (value, deadline));
                    model.touch(key);
                    model.expire();
                    SetOutcome::Stored
                };
                prop_assert_eq!(outcome, expected);
            }
            Op::Get(key) => {
                let expected = model.entries.get(&key).map(|(value, _)| value.clone());
                prop_assert_eq!(db.get(&key_of(key)).map(<[u8]>::to_vec), expected.clone());
                if expected.is_some() {
                    model.touch(key);
                }
            }
            Op::Remove(key) => prop_assert_eq!(db.remove(&key_of(key)), model.remove(key)),
            Op::Expire(key, ttl) => {
                let deadline = model.now + ttl;
                let entry = model.entries.get_mut(&key).map(|entry| entry.1 = Some(deadline));
                prop_assert_eq!(db.expire(&key_of(key), ttl), entry.is_some());
                model.expire();
            }
            Op::Persist(key) => {
                let had = model.entries.get_mut(&key).and_then(|entry| entry.1.take());
                prop_assert_eq!(db.persist(&key_of(key)), had.is_some());
            }
            Op::Advance(ms) => {
                hand.advance(ms);
                db.tick();
                model.now += ms;
                model.expire();
            }
            Op::Len => prop_assert_eq!(db.len(), model.entries.len()),
            Op::Flush => {
                db.flush();
                model = Model { now: model.now, ..Model::default() };
            }
        }
        if exact {
            model.evict(limits.max_bytes, max_entries);
        } else {
            // What the table let go is what was used least recently.
            let kept: Vec<bool> = model.order.clone().iter().map(|&key| db.contains(&key_of(key))).collect();
            prop_assert!(kept.is_sorted(), "evicted out of order");
            let evicted = kept.iter().filter(|kept| !**kept).count();
            let evicted = model.order[..evicted].to_vec();
            for key in evicted {
                model.remove(key);
            }
        }
        prop_assert!(db.bytes() <= limits.max_bytes && db.slab.len() <= max_entries);
        for (&key, (_, deadline)) in &model.entries {
            let expected = deadline.map_or(Ttl::Persistent, |deadline| Ttl::Remaining(deadline - model.now));
            prop_assert_eq!(db.ttl_ms(&key_of(key)), expected);
        }
        prop_assert_eq!(shown(&mut db), model.entries.keys().copied().collect::<Vec<_>>());
        prop_assert_eq!(order(&db), model.order.clone());
        prop_assert_eq!(db.bytes(), model.bytes());
        prop_assert_eq!(db.index.len(), db.slab.len());
    }
    Ok(())
}

/// As `compare`, but nothing is looked at on the way that would find expired entries by itself.
fn compare_at_the_end(ops: Vec<Op>) -> Result<(), TestCaseError> {
    let hand = ManualClock::default();
    let mut db = Db::new(Limits::default(), Clock::manual(&hand));
    let mut model = Model::default();
    for op in ops {
        match op {
            Op::Set { key, len, ttl, .. } => {
                db.set(&key_of(key), &vec![0; len], ttl, Condition::Always);
                model.entries.insert(key, (vec![0; len], ttl.map(|ttl| model.now + ttl)));
            }
            Op::Remove(key) => {
                db.remove(&key_of(key));
                model.remove(key);
            }
            Op::Expire(key, ttl) => {
                db.expire(&key_of(key), ttl);
                if let Some(entry) = model.entries.get_mut(&key) {
                    entry.1 = Some(model.now + ttl);
                }
            }
            Op::Advance(ms) => {
                hand.advance(ms);
                db.tick();
                model.now += ms;
            }
            Op::Len => prop_assert_eq!(db.len(), model.entries.len()),
            Op::Get(_) | Op::Persist(_) | Op::Flush => {}
        }
        model.expire();
    }
    prop_assert_eq!(db.len(), model.entries.len());
    prop_assert_eq!(db.bytes(), model.bytes());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn behaves_like_the_model(ops in ops(true, 120)) {
        compare(ops, Limits::default(), true)?;
    }

    #[test]
    fn evicts_the_least_recently_used(ops in ops(false, 120), max_bytes in 100usize..1_500) {
        compare(ops, Limits::new(max_bytes, None), true)?;
    }

    #[test]
    fn evicts_by_count(ops in ops(false, 120), max_entries in 1usize..12) {
        compare(ops, Limits::new(100_000, Some(max_entries)), true)?;
    }

    #[test]
    fn evicts_in_order_while_entries_expire(ops in ops(true, 120), max_bytes in 100usize..1_500) {
        compare(ops, Limits::new(max_bytes, Some(9)), false)?;
    }

    #[test]
    fn counts_no_expired_key(ops in ops(true, 200)) {
        compare_at_the_end(ops)?;
    }

    #[test]
    fn a_scan_shows_what_stays_exactly_once(
        rounds in prop::collection::vec((1usize..6, prop::collection::vec((0u8..40, any::<bool>()), 0..12)), 1..60),
    ) {
        // Keys below 12 stay; the others come and go between the calls, and before the first.
        let mut db = Db::new(Limits::default(), Clock::system());
        for key in 0..40 {
            db.set(&key_of(key), b"", None, Condition::Always);
        }
        let mut seen = [0u32; 40];
        let mut added = [1u32; 40];
        let (mut cursor, mut rounds) = (0, rounds.into_iter().cycle());
        loop {
            let (count, changes) = rounds.next().unwrap_or_default();
            for (key, present) in changes {
                if present {
                    added[usize::from(key)] += u32::from(!db.contains(&key_of(key)));
                    db.set(&key_of(key), &vec![0; usize::from(key) + count], None, Condition::Always);
                } else if key >= 12 {
                    db.remove(&key_of(key));
                }
            }
            cursor = db.scan(cursor, count, &Glob::new(b"k*"), &mut |key| seen[usize::from(key[2])] += 1);
            if cursor == 0 {
                break;
            }
        }
        prop_assert!(seen[..12].iter().all(|&seen| seen == 1), "{seen:?}");
        prop_assert!(seen.iter().zip(added).all(|(&seen, added)| seen <= added), "{seen:?} {added:?}");
    }
}
