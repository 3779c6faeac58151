use super::*;
use proptest::prelude::*;

const ROOMY: usize = 1 << 20;

fn names(journal: &mut Journal) -> Vec<String> {
    std::iter::from_fn(|| journal.pop()).map(|(_, key)| String::from_utf8_lossy(&key).into_owned()).collect()
}

#[test]
fn keys_come_in_the_order_of_their_last_change() {
    let mut journal = Journal::new(ROOMY);
    ["a", "b", "c", "a"].iter().for_each(|key| journal.touch(key.as_bytes()));
    assert_eq!(journal.len(), 3);
    assert_eq!(names(&mut journal), ["b", "c", "a"]);
    assert!(journal.is_empty());
}

#[test]
fn what_could_not_be_done_goes_back_to_its_place() {
    let mut journal = Journal::new(ROOMY);
    ["a", "b", "c"].iter().for_each(|key| journal.touch(key.as_bytes()));
    let taken: Vec<Touched> = (0..2).filter_map(|_| journal.pop()).collect();
    journal.touch(b"a");
    taken.into_iter().for_each(|key| journal.put_back(key));
    assert_eq!(names(&mut journal), ["b", "c", "a"], "a was touched again since");
}

#[test]
fn a_flush_ends_what_was_before() {
    let mut journal = Journal::new(Journal::KEY_OVERHEAD * 3);
    (0..10).for_each(|key| journal.touch(format!("k{key}").as_bytes()));
    let taken = journal.pop().expect("a key");
    let forgotten = journal.take_forgotten().expect("there were too many");
    journal.flush(Flush::Everything);
    journal.flush(Flush::Database);
    journal.put_back(taken);
    journal.put_back_forgotten(forgotten);
    journal.touch(b"after");
    assert!(journal.take_forgotten().is_none());
    assert_eq!(journal.take_flush(), Some(Flush::Everything));
    assert_eq!(names(&mut journal), ["after"]);
    assert_eq!(journal.take_flush(), None);
    assert!(journal.is_empty());
}

#[test]
fn forgotten_keys_that_are_put_back_join_the_newer_ones() {
    let mut journal = Journal::new(Journal::KEY_OVERHEAD);
    journal.touch(b"user:1");
    let older = journal.take_forgotten().expect("one has no room");
    journal.touch(b"user:2");
    journal.put_back_forgotten(older);
    let both = journal.take_forgotten().expect("they are back");
    assert!(both.may_contain(b"user:1") && both.may_contain(b"user:2") && !both.may_contain(b"user:3"));
    assert_eq!(both.pattern(), b"user:*");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Within its bound, a touched key is in the journal or among the forgotten ones, whatever was taken and put back.
    #[test]
    fn no_key_is_lost(
        limit in 0..20usize,
        steps in prop::collection::vec((0..40u8, prop::bool::weighted(0.1), 0..4usize), 1..200),
    ) {
        let limit = limit * (Journal::KEY_OVERHEAD + 3);
        let mut journal = Journal::new(limit);
        let mut touched: Vec<Vec<u8>> = Vec::new();
        for (key, flush, take) in steps {
            if flush {
                journal.flush(Flush::Database);
                touched.clear();
            }
            let key = format!("k{key:02}").into_bytes();
            journal.touch(&key);
            touched.retain(|other| *other != key);
            touched.push(key);
            prop_assert!(journal.bytes <= limit);
            prop_assert_eq!(journal.bytes, journal.len() * (Journal::KEY_OVERHEAD + 3));
            prop_assert_eq!(journal.by_time.len(), journal.len());
            // As a way back that fails does it.
            let flushed = journal.take_flush();
            let forgotten = journal.take_forgotten();
            let taken: Vec<Touched> = (0..take).filter_map(|_| journal.pop()).collect();
            taken.into_iter().for_each(|key| journal.put_back(key));
            if let Some(forgotten) = forgotten {
                journal.put_back_forgotten(forgotten);
            }
            if let Some(reach) = flushed {
                journal.put_back_flush(reach);
            }
        }
        let forgotten = journal.take_forgotten();
        let mut kept: Vec<Vec<u8>> = std::iter::from_fn(|| journal.pop()).map(|(_, key)| key.to_vec()).collect();
        for key in &touched {
            let known = kept.contains(key) || forgotten.as_ref().is_some_and(|all| all.may_contain(key));
            prop_assert!(known, "{:?} was lost", key);
        }
        // What is kept is in the order of time.
        let mut expected = touched.clone();
        expected.retain(|key| kept.contains(key));
        kept.retain(|key| touched.contains(key));
        prop_assert_eq!(kept, expected);
    }
}

#[test]
fn a_flush_and_forgotten_keys_are_more_than_keys() {
    let mut journal = Journal::new(Journal::KEY_OVERHEAD + 1);
    journal.touch(b"a");
    assert!(journal.has_keys_alone());
    journal.touch(b"b");
    assert!(!journal.has_keys_alone());
    assert!(journal.take_forgotten().is_some() && journal.has_keys_alone());
    journal.flush(Flush::Database);
    assert!(!journal.has_keys_alone());
    assert!(journal.take_flush().is_some() && journal.has_keys_alone());
}
