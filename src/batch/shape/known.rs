//! The shapes that values have had, for the whole process.

use super::{Scalars, Shape};
use once_cell::sync::Lazy;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// So many values of a shape must have come before JavaScript makes a function for it: it costs as much as parsing some
/// hundred of them, and more until V8 has compiled it.
const SEEN_OFTEN: usize = 2000;

/// Shapes that have functions. They stay for ever, and so must be few.
const MOST_HOT: usize = 64;

/// Shapes that are counted. The least seen ones make room for a new one.
const MOST_COUNTED: usize = 32;

static KNOWN: Lazy<Mutex<Known>> = Lazy::new(|| Mutex::new(Known { hot: Arc::new([]), counted: Vec::new() }));

struct Known {
    hot: Arc<[Arc<Shape>]>,
    counted: Vec<(Shape, usize)>,
}

impl Known {
    /// Takes from all counts what the least one has, and drops those that have nothing left: what comes often stays, and what
    /// came once upon a time goes.
    fn forget_rare(&mut self) {
        let least = self.counted.iter().map(|(_, seen)| *seen).min().unwrap_or(0);
        self.counted.retain_mut(|(_, seen)| {
            *seen -= least;
            *seen > 0
        });
    }
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

/// Counts those of `values` that have the shape of `sample`.
pub fn learn<'a>(sample: &[u8], values: impl Iterator<Item = &'a [u8]>) {
    if hot().len() >= MOST_HOT {
        return;
    }
    let Some(shape) = Shape::of(sample) else { return };
    let mut scalars = Scalars::default();
    let count = values.filter(|value| shape.take(value, &mut scalars)).count();
    let mut known = known();
    let place = known.counted.iter().position(|(counted, _)| *counted == shape);
    let place = place.unwrap_or_else(|| {
        if known.counted.len() >= MOST_COUNTED {
            known.forget_rare();
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
