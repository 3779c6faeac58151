//! A shape, found in one text and looked for in others.

use super::{Scalars, scalar};

/// What the texts of a shape consist of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    /// These very bytes: braces, commas, keys.
    Text(Vec<u8>),
    /// A string, a number, `true`, `false` or `null`.
    Scalar,
    /// A list of any length whose elements consist of these steps.
    List(Vec<Step>),
}

/// A shape of JSON texts that have no white space between their tokens.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    steps: Vec<Step>,
    description: String,
}

/// Keys and scalars, and bytes of keys. Larger ones would be large functions in JavaScript.
const MOST_PARTS: usize = 300;
const LONGEST: usize = 8 * 1024;
const DEEPEST: usize = 12;

impl Shape {
    /// The shape of `sample`, where that is JSON whose shape is worth knowing. Lists must have elements of one shape; an empty
    /// one is taken for a list of scalars.
    pub fn of(sample: &[u8]) -> Option<Self> {
        // Those have keys.
        if sample.first() != Some(&b'{') && !sample.starts_with(b"[{") {
            return None;
        }
        let mut finder = Finder { sample, at: 0, parts: 0, found: Scalars::default() };
        let mut steps = Vec::new();
        let mut description = String::new();
        finder.value(DEEPEST, &mut steps, &mut description)?;
        let is_whole = finder.at == sample.len() && description.len() <= LONGEST;
        is_whole.then_some(Self { steps, description })
    }

    /// A JSON text of this shape, for JavaScript: each scalar is 0, each list has one element.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Adds the scalars of `value` if it has this shape; says whether it has. Otherwise nothing is added.
    pub fn take(&self, value: &[u8], to: &mut Scalars) -> bool {
        let before = to.mark();
        let taken = follow(&self.steps, value, 0, to) == Some(value.len());
        if !taken {
            to.go_back(before);
        }
        taken
    }
}

/// Where `steps` end in `value` if they stand there at `at`.
fn follow(steps: &[Step], value: &[u8], mut at: usize, to: &mut Scalars) -> Option<usize> {
    for step in steps {
        at = match step {
            Step::Text(text) => {
                let end = at + text.len();
                (value.get(at..end)? == text.as_slice()).then_some(end)?
            }
            Step::Scalar => scalar::take(value, at, to)?,
            Step::List(element) => list(element, value, at, to)?,
        };
    }
    Some(at)
}

fn list(element: &[Step], value: &[u8], mut at: usize, to: &mut Scalars) -> Option<usize> {
    if value.get(at) != Some(&b'[') {
        return None;
    }
    at += 1;
    let place = to.words.len();
    to.words.push(0);
    if value.get(at) == Some(&b']') {
        return Some(at + 1);
    }
    let mut count = 0;
    loop {
        at = follow(element, value, at, to)?;
        count += 1;
        match value.get(at)? {
            b',' => at += 1,
            b']' => {
                // Values are shorter than 2^31 bytes.
                *to.words.get_mut(place)? = count;
                return Some(at + 1);
            }
            _ => return None,
        }
    }
}

struct Finder<'a> {
    sample: &'a [u8],
    at: usize,
    parts: usize,
    /// What the scalars are is of no interest, only that they are some.
    found: Scalars,
}

impl<'a> Finder<'a> {
    fn peek(&self) -> Option<u8> {
        self.sample.get(self.at).copied()
    }

    fn value(&mut self, depth: usize, steps: &mut Vec<Step>, description: &mut String) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.peek()? {
            b'{' => self.object(depth, steps, description),
            b'[' => self.list(depth, steps, description),
            _ => {
                self.count()?;
                self.at = scalar::take(self.sample, self.at, &mut self.found)?;
                steps.push(Step::Scalar);
                description.push('0');
                Some(())
            }
        }
    }

    fn count(&mut self) -> Option<()> {
        self.parts += 1;
        (self.parts <= MOST_PARTS).then_some(())
    }

    fn object(&mut self, depth: usize, steps: &mut Vec<Step>, description: &mut String) -> Option<()> {
        let mut keys: Vec<&[u8]> = Vec::new();
        let mut open = b'{';
        loop {
            self.at += 1;
            if open == b'{' && self.peek() == Some(b'}') {
                break;
            }
            let key = self.key()?;
            self.count()?;
            if keys.contains(&key) {
                return None;
            }
            keys.push(key);
            let text = std::str::from_utf8(key).ok()?;
            let token = format!("{}\"{text}\":", char::from(open));
            description.push_str(&token);
            push_text(steps, token.as_bytes());
            self.value(depth, steps, description)?;
            match self.peek()? {
                b',' => open = b',',
                b'}' => break,
                _ => return None,
            }
        }
        self.at += 1;
        let close = if keys.is_empty() { "{}" } else { "}" };
        description.push_str(close);
        push_text(steps, close.as_bytes());
        Some(())
    }

    /// A key as it stands between its quotes, behind its colon then. `None` for one that would not be the same in a literal:
    /// V8 sorts whole numbers, and `__proto__` is none there.
    fn key(&mut self) -> Option<&'a [u8]> {
        let start = self.at.checked_add(1)?;
        let rest = self.sample.get(self.at..)?.strip_prefix(b"\"")?;
        let length = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < b' ')?;
        if rest.get(length..length + 2)? != b"\":" {
            return None;
        }
        self.at = start + length + 2;
        let key = rest.get(..length)?;
        (!key.iter().all(u8::is_ascii_digit) && key != b"__proto__").then_some(key)
    }

    fn list(&mut self, depth: usize, steps: &mut Vec<Step>, description: &mut String) -> Option<()> {
        self.at += 1;
        description.push('[');
        let mut element = vec![Step::Scalar];
        if self.peek() == Some(b']') {
            description.push('0');
        } else {
            element.clear();
            self.value(depth, &mut element, description)?;
            // All elements are one element of the shape.
            let parts = self.parts;
            while self.peek()? == b',' {
                self.parts = parts;
                self.at += 1;
                let mut another = Vec::new();
                self.value(depth, &mut another, &mut String::new())?;
                if another != element {
                    return None;
                }
            }
            self.parts = parts;
            if self.peek() != Some(b']') {
                return None;
            }
        }
        self.at += 1;
        description.push(']');
        steps.push(Step::List(element));
        Some(())
    }
}

fn push_text(steps: &mut Vec<Step>, more: &[u8]) {
    if let Some(Step::Text(text)) = steps.last_mut() {
        text.extend_from_slice(more);
    } else {
        steps.push(Step::Text(more.to_vec()));
    }
}
