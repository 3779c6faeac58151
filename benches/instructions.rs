//! The pure parts of a call, each run once, for `scripts/instructions.mjs`, which counts their instructions.
//! Lists the cases unless it is given the name of one.

mod cases;

use std::any::Any;
use std::hint::black_box;
use std::io::{self, Write};
use std::process::ExitCode;

/// Callgrind counts from its entry to its return; it is found by its name.
#[inline(never)]
fn counted(work: cases::Work) -> Box<dyn Any> {
    black_box(work())
}

fn main() -> ExitCode {
    let cases = cases::all();
    // What cargo itself passes starts with dashes.
    let Some(name) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) else {
        let mut out = io::stdout().lock();
        let written = cases.iter().try_for_each(|case| writeln!(out, "{}\t{}", case.items, case.name));
        return if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    };
    let Some(case) = cases.iter().find(|case| case.name == name) else { return ExitCode::FAILURE };
    // The first run finds out what the processor can do, and grows the heap.
    drop(case.work()());
    drop(counted(case.work()));
    ExitCode::SUCCESS
}
