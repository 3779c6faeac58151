use proptest::prelude::*;

use super::*;

fn matches(pattern: &[u8], key: &[u8]) -> bool {
    Glob::new(pattern).matches(key)
}

#[test]
fn corners_of_the_dialect() {
    type Keys = &'static [&'static [u8]];
    // (pattern, keys that match, keys that do not)
    let cases: &[(&[u8], Keys, Keys)] = &[
        (b"", &[b""], &[b"a"]),
        (b"*", &[b"", b"a", b"ab"], &[]),
        (b"**", &[b"a"], &[b""]),
        (b"?", &[b"a", b"\xff"], &[b"", b"ab"]),
        (b"a*", &[b"a", b"abc"], &[b"ba", b""]),
        (b"*a", &[b"a", b"ba", b"aa"], &[b"ab", b""]),
        (b"a*b*c", &[b"abc", b"axxbyyc", b"abcbc"], &[b"abcd", b"acb"]),
        (b"a*?", &[b"ab", b"abc"], &[b"a"]),
        (b"[abc]", &[b"a", b"c"], &[b"d", b"", b"ab"]),
        (b"[^a]", &[b"b", b"^"], &[b"a", b""]),
        (b"[a^]", &[b"a", b"^"], &[b"b"]),
        (b"[a-c]", &[b"a", b"b", b"c"], &[b"d", b"-"]),
        (b"[c-a]", &[b"a", b"b", b"c"], &[b"d"]),
        (b"[]", &[], &[b"", b"]", b"a"]),
        (b"[^]", &[b"a", b"]"], &[b""]),
        (b"[a-]", &[b"a", b"]", b"^", b"_"], &[b"-", b"b"]),
        (b"[-a]", &[b"-", b"a"], &[b"b"]),
        (b"[\\]]", &[b"]"], &[b"\\"]),
        (b"[\\-]", &[b"-"], &[b"\\"]),
        (b"[a", &[b"a"], &[b"b", b"[a"]),
        (b"[", &[], &[b"[", b""]),
        (b"[^", &[b"a", b"["], &[b""]),
        (b"[\\", &[b"\\"], &[b"["]),
        (b"[a*", &[b"a", b"*"], &[b"ab"]),
        (b"\\*", &[b"*"], &[b"a", b"\\*"]),
        (b"\\[a]", &[b"[a]"], &[b"a"]),
        (b"\\", &[b"\\"], &[b""]),
        (b"a\\", &[b"a\\"], &[b"a"]),
        (b"]", &[b"]"], &[b"a"]),
        (b"\0\n*", &[b"\0\n", b"\0\nx"], &[b"\0"]),
        (b"\xc3\xbc*", &[b"\xc3\xbc1"], &[b"\xc3\xa41"]),
    ];
    for (pattern, yes, no) in cases {
        for key in *yes {
            assert!(matches(pattern, key), "{pattern:?} should match {key:?}");
        }
        for key in *no {
            assert!(!matches(pattern, key), "{pattern:?} should not match {key:?}");
        }
    }
}

/// With backtracking to every star this would take longer than the universe has been there.
#[test]
fn many_stars_stay_cheap() {
    let pattern = [b"a*".repeat(500), b"b".to_vec()].concat();
    assert!(!matches(&pattern, &b"a".repeat(5_000)));
    let pattern = [b"?*".repeat(500), b"[b]".to_vec()].concat();
    assert!(!matches(&pattern, &b"a".repeat(5_000)));
}

/// The plain definition, which tries every length for every star.
fn reference(tokens: &[Token], key: &[u8]) -> bool {
    let Some((token, rest)) = tokens.split_first() else { return key.is_empty() };
    let one = |fits: &dyn Fn(u8) -> bool| {
        key.split_first().is_some_and(|(&byte, key)| fits(byte) && reference(rest, key))
    };
    match token {
        Token::Star => (0..=key.len()).any(|skipped| reference(rest, &key[skipped..])),
        Token::Any => one(&|_| true),
        Token::Byte(literal) => one(&|byte| byte == *literal),
        Token::Class(class) => one(&|byte| class.contains(byte)),
    }
}

fn bytes_of(alphabet: &'static [u8], most: usize) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(alphabet), 0..=most)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn going_back_to_the_last_star_is_enough(
        pattern in bytes_of(b"ab**?[]^-\\", 12),
        key in bytes_of(b"ab", 12),
    ) {
        prop_assume!(!key.is_empty());
        let glob = Glob::new(&pattern);
        let tokens: Vec<_> =
            glob.prefix.iter().map(|&byte| Token::Byte(byte)).chain(glob.rest.iter().cloned()).collect();
        prop_assert_eq!(glob.matches(&key), reference(&tokens, &key));
    }

    #[test]
    fn any_bytes_are_a_pattern_and_a_key(pattern: Vec<u8>, key: Vec<u8>) {
        matches(&pattern, &key);
        let escaped: Vec<u8> = key.iter().flat_map(|&byte| [b'\\', byte]).collect();
        prop_assert!(matches(&escaped, &key));
    }
}
