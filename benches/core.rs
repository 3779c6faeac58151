//! The pure parts of a call, timed: `cargo bench --no-default-features`.

mod cases;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn core(criterion: &mut Criterion) {
    for case in cases::all() {
        let (group, name) = case.name.split_once(": ").unwrap_or(("core", case.name));
        let mut group = criterion.benchmark_group(group);
        group.throughput(Throughput::Elements(case.items as u64));
        group.bench_function(name, |bencher| {
            bencher.iter_batched(|| case.work(), |work| work(), BatchSize::LargeInput);
        });
    }
}

criterion_group!(benches, core);
criterion_main!(benches);
