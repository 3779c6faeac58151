use super::*;
use crate::store::memory::{ManualClock, MemoryStore};

#[test]
fn writes_free_the_memory_of_what_expired() {
    let hand = ManualClock::default();
    let mut db = Db::new(Limits::default(), Clock::manual(&hand));
    for key in 0..1_000u32 {
        db.set(&key.to_be_bytes(), &[0; 100], Some(10), Condition::Always);
    }
    hand.advance(10);
    db.tick();
    for key in 1_000..1_251u32 {
        db.set(&key.to_be_bytes(), b"", None, Condition::Always);
    }
    assert_eq!(db.bytes(), 251 * entry_size(4, 0));
    assert_eq!(db.evictions(), 0);
}

#[test]
fn what_expired_goes_before_what_lives() {
    let hand = ManualClock::default();
    let mut db = Db::new(Limits::new(usize::MAX, Some(10)), Clock::manual(&hand));
    for key in 0..10u32 {
        let ttl = (key == 9).then_some(5);
        db.set(&key.to_be_bytes(), b"", ttl, Condition::Always);
    }
    hand.advance(5);
    db.tick();
    db.set(b"new", b"", None, Condition::Always);
    assert_eq!((db.len(), db.evictions()), (10, 0));
    assert!(db.contains(&0u32.to_be_bytes()));
}

#[test]
fn the_longest_ttl_still_ends_some_day() {
    let mut db = Db::new(Limits::default(), Clock::system());
    db.set(b"a", b"", Some(u64::MAX), Condition::Always);
    assert!(matches!(db.ttl_ms(b"a"), Ttl::Remaining(_)));
}

#[test]
fn any_cursor_is_safe() {
    let mut db = Db::new(Limits::default(), Clock::system());
    db.set(b"a", b"", None, Condition::Always);
    for cursor in [1, 2, u64::from(u32::MAX), u64::MAX] {
        assert_eq!(db.scan(cursor, usize::MAX, &Glob::new(b"*"), &mut |_| panic!("no key there")), 0);
    }
    let mut seen = 0;
    assert_eq!(db.scan(0, usize::MAX, &Glob::new(b"*"), &mut |_| seen += 1), 0);
    assert_eq!(seen, 1);
}

#[test]
fn a_panic_in_a_caller_leaves_the_store_usable() {
    let store = MemoryStore::new(Limits::default());
    store.with(|db| db.set(b"a", b"1", None, Condition::Always));
    let thrown =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| store.with(|_| panic!("on purpose"))));
    assert!(thrown.is_err());
    assert_eq!(store.with(|db| db.get(b"a").map(<[u8]>::to_vec)), Some(b"1".to_vec()));
}

#[test]
fn vacant_slots_are_used_again() {
    let mut db = Db::new(Limits::default(), Clock::system());
    db.set(b"stays", b"", None, Condition::Always);
    for round in 0..100u32 {
        for key in 0..3u32 {
            db.set(&(round * 3 + key).to_be_bytes(), b"", None, Condition::Always);
        }
        for key in 0..3u32 {
            assert!(db.remove(&(round * 3 + key).to_be_bytes()));
        }
    }
    assert_eq!(db.slab.slots(), 4);
    db.remove(b"stays");
    assert_eq!((db.slab.slots(), db.bytes()), (0, 0));
}
