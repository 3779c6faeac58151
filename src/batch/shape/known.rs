//! The shapes that values have had, for the whole process.

use super::Shape;
use once_cell::sync::Lazy;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many values of a shape must have come before JavaScript makes a function for it: it costs as much as parsing some
/// hundred of them, and more until V8 has compiled it.
const SEEN_OFTEN: usize = 2000;

/// Shapes that have functions. They stay for ever, and so must be few.
const MOST_HOT: usize = 64;

/// Shapes that are counted. The least seen one makes room for a new one.
const MOST_COUNTED: usize = 32;

static KNOWN: Lazy<Mutex<Known>> = Lazy::new(|| Mutex::new(Known { hot: Arc::new([]), counted: Vec::new() }));

struct Known {
    hot: Arc<[Arc<Shape>]>,
    counted: Vec<(Shape, usize)>,
}

fn known() -> MutexGuard<'static, Known> {
    // What it guards is whole between two statements.
    KNOWN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The shapes that have been seen often enough; the index of each is its number for ever.
pub fn hot() -> Arc<[Arc<Shape>]> {
    known().hot.clone()
}

/// A JSON text of the shape with this number.
pub fn describe(number: usize) -> Option<String> {
    known().hot.get(number).map(|shape| shape.description().to_owned())
}

/// Counts `count` values like `sample`.
pub fn learn(sample: &[u8], count: usize) {
    if hot().len() >= MOST_HOT {
        return;
    }
    let Some(shape) = Shape::of(sample) else { return };
    let mut known = known();
    let place = known.counted.iter().position(|(counted, _)| *counted == shape);
    let place = place.unwrap_or_else(|| {
        if known.counted.len() >= MOST_COUNTED {
            let least = known.counted.iter().enumerate().min_by_key(|(_, (_, seen))| *seen);
            if let Some((least, _)) = least {
                known.counted.swap_remove(least);
            }
        }
        known.counted.push((shape, 0));
        known.counted.len() - 1
    });
    let Some((_, seen)) = known.counted.get_mut(place) else { return };
    *seen += count;
    if *seen < SEEN_OFTEN {
        return;
    }
    let (shape, _) = known.counted.swap_remove(place);
    if !known.hot.iter().any(|hot| **hot == shape) {
        known.hot = known.hot.iter().cloned().chain([Arc::new(shape)]).collect();
    }
}
